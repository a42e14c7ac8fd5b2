"""Writes which certificate HAProxy shows to which clients at one port, by the name in their TLS hello. Pure.

It is a file beside the configuration, called after what it says: a configuration that is put back finds the
list that it was written with, and one whose list says something else is another configuration.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIX, SUFFIX = "certificates-", ".list"


@dataclass(frozen=True, slots=True)
class CertificateList:
    """A file for HAProxy's `crt-list`."""

    path: str
    text: str


def certificate_list(folder: str, port: int, files: Mapping[str, str]) -> CertificateList:
    """`files`: the certificate of each host that is matched; of "": for the names in it."""
    text = "".join(f"{' '.join([file, *_filters(host, files)])}\n" for host, file in sorted(files.items()))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return CertificateList(str(Path(folder) / f"{PREFIX}{port}-{digest}{SUFFIX}"), text)


def _filters(host: str, files: Mapping[str, str]) -> list[str]:
    """HAProxy gathers all certificates that fit a name, and may prefer one for its kind of key: what another
    front matches more closely is taken out."""
    if not host.startswith("*"):
        return [host] * bool(host)
    return [host, *(f"!{other}" for other in sorted(files) if _is_below(other, host))]


def _is_below(name: str, wildcard: str) -> bool:
    """As HAProxy has it: * stands for one label. `blog.example.com` is below `*.example.com`."""
    return not name.startswith("*") and name.partition(".")[2] == wildcard.removeprefix("*.")

"""How a reference to a secret is written: in a spec, to a region, and in what people read. Says what is wrong
with one in words; whether there is such a secret, and who may read it, only the region's agent knows.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SECRETS_MAX = 64  # of one host
SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
SECRET_PLACE_LENGTH_MAX = 1024
SOURCES = ("vault", "file", "env")

_SEGMENT = re.compile(r"[A-Za-z0-9_.~+=@:-]+")
_KEY = re.compile(r"[A-Za-z0-9_.~+=@:/ -]{1,256}")
VAULT_EXAMPLE = "kv/checkout#url"


@dataclass(frozen=True, slots=True)
class VaultPlace:
    """`kv/checkout/db#url`: the path below the mount is only known once Vault has said what is mounted."""

    path: str  # with the mount
    key: str


def vault_place(text: str) -> VaultPlace | None:
    """None where `vault_fault` has something to say."""
    path, sign, key = text.partition("#")
    return VaultPlace(path, key) if sign and not vault_fault(text) else None


def vault_fault(text: str) -> str:
    """What is wrong with it; "" when nothing is."""
    path, sign, key = text.partition("#")
    if not sign or not key:
        return f"name the key behind #, as in {VAULT_EXAMPLE}"
    if _KEY.fullmatch(key) is None:
        return "a key is 1 to 256 letters, digits or _ . ~ + = @ : / - and spaces"
    segments = path.split("/")
    if len(segments) < 2 or "" in segments:
        return f"write the mount, /, the path, # and the key, as in {VAULT_EXAMPLE}; no / at either end"
    if any(segment in (".", "..") or _SEGMENT.fullmatch(segment) is None for segment in segments):
        return "the parts of a path are letters, digits and _ . ~ + = @ : -, and none is . or .."
    return ""


def file_fault(text: str) -> str:
    """What is wrong with the path; "" when nothing is."""
    if not text.startswith("/") or not text.isprintable():
        return "write an absolute path on the agent's machine, such as /etc/repave/secrets/checkout/url"
    if any(part in ("", ".", "..") for part in text[1:].split("/")):
        return "write the path without //, . and .., and without / at its end"
    return ""


def env_fault(text: str) -> str:
    """What is wrong with the name; "" when nothing is."""
    if SECRET_NAME.fullmatch(text) is None:
        return "name a variable of the agent: letters, digits and _, such as REPAVE_SECRET_CHECKOUT__URL"
    return ""


FAULTS: Mapping[str, Callable[[str], str]] = {"vault": vault_fault, "file": file_fault, "env": env_fault}
"""By source."""

"""Addresses of packages and images on other machines, as a spec may have them."""

import re
from urllib.parse import urlsplit

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
IMAGE = "oci://"
"""Before the name of an OCI image, which thereby is an address like others."""
CONTAINER = "./container"
"""The program of its package."""
IMAGE_PATTERN = (
    r"^(?:[a-z0-9-]+(?:\.[a-z0-9-]+)+|localhost|[a-z0-9.-]+(?=:))(?::[0-9]{1,5})?"
    r"(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?@sha256:[0-9a-f]{64}$"
)
_HOST = re.compile(r"[A-Za-z0-9.-]+|[0-9A-Fa-f:.]+")


def is_remote(uri: str) -> bool:
    """Whether the controller brings it."""
    return uri.startswith(("https://", "s3://", IMAGE))


def remote_fault(uri: str) -> str:
    """What is wrong with an address, before version and application are put in; "": nothing."""
    if not uri.isascii() or re.search(r"[\s\\\\#]", uri):
        return "an address has no spaces, no # and ASCII only; write others as %20 and so on"
    if uri.startswith(IMAGE):
        return "name an image by artifact.oci, in place of artifact.uri"
    scheme, _, rest = uri.partition("://")
    authority, slash, path = rest.partition("/")
    if not slash or not path.strip("/"):
        return "names no file: https://HOST/PATH or s3://BUCKET/KEY"
    if "{" in authority:
        return "what is put in can't be part of the host"
    if "@" in authority:
        return "credentials are no part of a spec; an operator puts them into the controller's settings"
    if scheme == "s3":
        return "" if _BUCKET.fullmatch(authority) else f"{authority[:70]} is no bucket"
    return _host_fault(uri)


def _host_fault(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        is_good = parts.hostname is not None and _HOST.fullmatch(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    return "" if is_good else "names no host"

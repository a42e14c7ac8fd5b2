"""What a health check may ask: the texts of its one request, and what they can't hold. Pure.

The agent's probe and the balancer's own check both send the request, so it holds nothing that either would
read as syntax. `repave validate` and the agent refuse the same.
"""

import re

PATH_LENGTH_MAX = 1024
HOST_LENGTH_MAX = 255
HEADERS_MAX = 10
"""With more, HAProxy's line of the request has too many words."""
HEADER_LENGTH_MAX = 1000

_NOT_IN_PATH = re.compile(r"[^A-Za-z0-9/_.~?&=+:@,;!*%-]")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[1-9][0-9]{0,4})?"
)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$&*+.^_`|~-]{1,64}")  # of RFC 9110's tokens, without % and '
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_NOT_IN_VALUE = re.compile(r"[^ -~]")
_OF_THE_CONNECTION = (
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)


def path_fault(path: str) -> str:
    """Why a check can't ask for this path, and what to write; "" when it can."""
    if len(path) > PATH_LENGTH_MAX:
        return f"has {len(path)} characters, at most {PATH_LENGTH_MAX} can be asked for"
    if not path.startswith("/"):
        return "must begin with / and hold no spaces: write a path such as /health"
    if found := _NOT_IN_PATH.search(path):
        encoded = "".join(f"%{byte:02X}" for byte in found[0].encode(errors="replace"))
        return f"{shown(found[0])} must be percent-encoded: write {encoded}"
    return ""


def host_fault(host: str) -> str:
    """Why this can't be the Host of a request; "" when it can."""
    if len(host) <= HOST_LENGTH_MAX and _HOST.fullmatch(host) and _has_port(host):
        return ""
    return "must be a name or an address, with a port if need be: shop.example.com or shop.example.com:8443"


def _has_port(host: str) -> bool:
    """Unless there is one that is none."""
    _, sign, port = host.rpartition("]")[2].rpartition(":")
    return not sign or int(port) <= 65_535


def header_fault(name: str, value: str) -> str:
    """Why a request can't have this header, in words that follow its name; "" when it can."""
    if _HEADER_NAME.fullmatch(name) is None:
        return "can't name a header: 1 to 64 letters, digits and -"
    if name.lower() == "host":
        return "has a field of its own: health.http.host"
    if name.lower() in _OF_THE_CONNECTION:
        return "belongs to the connection: leave it out"
    if len(value) > HEADER_LENGTH_MAX:
        return f"has {len(value)} characters, at most {HEADER_LENGTH_MAX} can be sent"
    if found := _NOT_IN_VALUE.search(value):
        return f"can't hold {shown(found[0])}: printable ASCII only"
    if _HEADER_VALUE.fullmatch(value) is None:
        return "must neither be empty nor begin or end with a space"
    return ""


def headers_fault(headers: tuple[tuple[str, str], ...]) -> str:
    """Why a request can't have these headers; "" when it can."""
    if len(headers) > HEADERS_MAX:
        return f"there are {len(headers)} headers, at most {HEADERS_MAX} can be sent"
    names = [name.lower() for name, _ in headers]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        return f"{twice} is there twice: names of headers don't tell capitals apart"
    faults = ((name, header_fault(name, value)) for name, value in headers)
    return next((f"{shown(name)}: {fault}" for name, fault in faults if fault), "")


def shown(text: str) -> str:
    """As people can read it, whatever it is: `'"'`, `' ' (U+0020)`."""
    if len(text) == 1 and not "!" <= text <= "~":
        return f"{text!a} (U+{ord(text):04X})"
    return ascii(text[:60])

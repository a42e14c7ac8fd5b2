"""The one request by which hosts are asked whether they are healthy. Pure.

The prober and HAProxy's own check send the same, byte for byte: an application that answers one answers the
other. Names of headers are in small letters, since HAProxy writes them so.
"""

from repave_protos.protocol.health_requests import headers_fault, host_fault, path_fault
from repave_protos.protocol.values import Probe

DEFAULT_HOST = "localhost"
DEFAULT_HEADERS = {"user-agent": "repave-health-check", "accept": "*/*"}


def request_headers(probe: Probe) -> tuple[tuple[str, str], ...]:
    """In order, without the `connection: close` that ends them."""
    own = {name.lower(): value for name, value in probe.headers}
    return ("host", probe.host or DEFAULT_HOST), *(DEFAULT_HEADERS | own).items()


def request_bytes(probe: Probe) -> bytes:
    """As it is sent. The probe has no `request_fault`."""
    headers = (*request_headers(probe), ("connection", "close"))
    lines = (f"GET {probe.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def request_fault(probe: Probe) -> str:
    """Why the request can't be made, by the field of the spec; "" when it can."""
    faults = {
        "health.http.path": path_fault(probe.path),
        "health.http.host": host_fault(probe.host) if probe.host else "",
        "health.http.headers": headers_fault(probe.headers),
    }
    return next((f"{field}: {fault}" for field, fault in faults.items() if fault), "")

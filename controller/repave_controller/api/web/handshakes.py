"""Tells of TLS handshakes that came to nothing: from where, why; so seldom that strangers fill no log."""

import ssl
from collections.abc import Callable

import structlog

from repave_controller.security.rates import Rates

OF_A_PEER = (1 / 60, 3.0)
"""A second, and at once."""
OF_ALL = (0.5, 30.0)
REASONS = {
    "HTTP_REQUEST": "it speaks plain HTTP: the address begins with https://",
    "WRONG_VERSION_NUMBER": "it speaks no TLS",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS 1.3",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks no TLS 1.3",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust this controller's authority",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not trust this controller's certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not trust this controller's certificate",
    "TLSV1_ALERT_DECRYPT_ERROR": "it does not trust this controller's certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it finds this controller's certificate expired; is its clock wrong?",
    "NO_SHARED_CIPHER": "no cipher is known to both",
}

log = structlog.get_logger()


class Refusals:
    """One for a listener."""

    def __init__(self, listener: str, clock: Callable[[], float]) -> None:
        self._listener, self._clock = listener, clock
        self._of_peers, self._of_all = Rates(*OF_A_PEER), Rates(*OF_ALL)
        self._untold = 0

    def tell(self, address: str, peer: str, error: OSError) -> None:
        """One who merely left is no refusal: health checks of ports do."""
        why = why_refused(error)
        if not why:
            return
        now = self._clock()
        if self._of_peers.take(peer or address, now) or self._of_all.take("", now):
            self._untold += 1
            return
        log.warning("tls.refused", listener=self._listener, address=address, why=why, untold=self._untold)
        self._untold = 0


def why_refused(error: OSError) -> str:
    """In words; "" where the other side has just left."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate does not count: {error.verify_message}"
        case ssl.SSLError() if error.reason:
            return REASONS.get(error.reason, error.reason.lower().replace("_", " "))
        case ConnectionAbortedError():
            return "it took too long"
        case _:
            return ""

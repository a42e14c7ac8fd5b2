"""Whether what a host sends back over HTTP is a good answer. Takes it piece by piece. Pure.

Good is an answer with the expected status that comes to its end: an application that resets the connection or
hangs after its first line serves no client. A page may be longer than is read here; endless headers are
refused, as HAProxy's check refuses them.
"""

import re

HEADER_BYTES_MAX = 15_360
"""Of the status line and all headers: what HAProxy's check has room for."""
BODY_BYTES_MAX = 65_536
"""What comes after it is not read, and says nothing against the host."""
EXCERPT_CHARACTERS_MAX = 160

_LAST_CHUNK = re.compile(rb"(?:\A|\r\n)0+[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n\Z")
_CHUNK_LINES = re.compile(rb"(?:\A|\r\n)[0-9A-Fa-f]+[^\r\n]*\r\n")
_TAGS = re.compile(r"<(style|script|title)\b.*?</\1\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_WITHOUT_BODY = (204, 304)


class Answer:
    """One answer. `fault`: what is wrong with it, in words that follow "GET ..."; "" while nothing is."""

    def __init__(self, expected: int) -> None:
        self.fault = ""
        self.is_over = False
        self._expected = expected
        self._received = b""
        self._status = 0
        self._headers: dict[bytes, bytes] | None = None  # None: they have not all come

    @property
    def is_begun(self) -> bool:
        """Whether its status is known."""
        return self._status > 0

    @property
    def excerpt(self) -> str:
        """The beginning of the body as text, in one line; "" when there is none to be read."""
        if self._headers is None:
            return ""
        body = _CHUNK_LINES.sub(b"", self._received) if self._is_chunked else self._received
        text = body[:BODY_BYTES_MAX].decode(errors="replace")
        if text.lstrip().startswith("<"):
            text = _TAGS.sub(" ", text)
        text = "".join(char if char.isprintable() else " " for char in text)
        return " ".join(text.split())[:EXCERPT_CHARACTERS_MAX]

    def take(self, received: bytes) -> None:
        if self.is_over:
            return
        self._received += received
        while self._headers is None and not self.is_over:
            if not self._take_head():
                return
        if not self.is_over:
            self._take_body()

    def end(self, how: str = "") -> None:
        """The connection is closed; `how` unless the host has closed it in order."""
        if self.is_over:
            return
        if not self._received and not self.is_begun:
            self._break_off(f"answered nothing {how or 'and hung up'}")
        elif not self.is_begun:
            self._take_status(self._received.partition(b"\n")[0])
        if not self.is_over and (how or not self._may_end_by_closing):
            self._cut(how or "and hung up before its end")
        self.is_over = True

    def time_out(self, seconds: float) -> None:
        """It takes longer than it may. One of no stated length may be a stream, without an end."""
        if self._may_end_by_closing:
            self.is_over = True
        else:
            self._cut(f"and did not end its answer within {seconds:g} s")

    def _cut(self, how: str) -> None:
        self._break_off(f"answered {self._status} {how}")

    def _break_off(self, fault: str) -> None:
        self.fault, self.is_over = self.fault or fault, True

    def _take_head(self) -> bool:
        """Returns whether the end of a head was there: that of the answer or one before it (1xx)."""
        line, is_whole, _ = self._received.partition(b"\n")
        if not self.is_begun and (is_whole or len(self._received) > HEADER_BYTES_MAX):
            self._take_status(line)
        head = re.match(rb".*?\n\r?\n", self._received, re.DOTALL)
        if self.is_over or head is None or head.end() > HEADER_BYTES_MAX:
            if not self.is_over and len(self._received) > HEADER_BYTES_MAX:
                self._cut(f"and more than {HEADER_BYTES_MAX} bytes of headers")
            return False
        self._received = self._received[head.end() :]
        if 100 <= self._status < 200 and self._status not in (101, self._expected):
            self._status = 0  # the answer itself follows
            return bool(self._received)
        self._headers = _headers_in(head[0])
        return True

    def _take_status(self, line: bytes) -> None:
        parts = line.rstrip().split(None, 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not re.fullmatch(rb"\d{3}", parts[1]):
            self._break_off(f"answered {line.rstrip()[:40].decode('latin-1')!r}, which is not HTTP/1.1")
            return
        self._status = int(parts[1])
        is_interim = 100 <= self._status < 200 and self._status != 101
        if self._status != self._expected and not is_interim:
            self.fault = f"answered {self._status}, expected {self._expected}"

    def _take_body(self) -> None:
        assert self._headers is not None
        length = self._headers.get(b"content-length", b"")
        if self._status < 200 or self._status in _WITHOUT_BODY or len(self._received) > BODY_BYTES_MAX:
            self.is_over = True
        elif self._is_chunked:
            self.is_over = _LAST_CHUNK.search(self._received) is not None
        elif re.fullmatch(rb"\d{1,18}", length):
            self.is_over = len(self._received) >= int(length)

    @property
    def _is_chunked(self) -> bool:
        return b"chunked" in (self._headers or {}).get(b"transfer-encoding", b"").lower()

    @property
    def _may_end_by_closing(self) -> bool:
        """Whether nothing else says where the body ends."""
        if self._headers is None:
            return False
        return not self._is_chunked and b"content-length" not in self._headers


def _headers_in(head: bytes) -> dict[bytes, bytes]:
    fields = (line.partition(b":") for line in head.splitlines()[1:])
    return {name.strip().lower(): value.strip() for name, _, value in fields}

"""Amazon CloudWatch (docs.aws.amazon.com, GetMetricData): a query is an expression of metric maths, a SEARCH,
or a SELECT of Metrics Insights, which comes to one series. Requests are signed (Signature Version 4)."""

import hashlib
import hmac
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from yarl import URL

from repave_controller.fleet.presigning import ALGORITHM, Keys, keys_of, signing_key
from repave_controller.operations.analysis.sources.asking import Request
from repave_controller.operations.analysis.sources.placing import plain
from repave_controller.operations.analysis.sources.ports import (
    Point,
    Side,
    SourceError,
    Window,
    number,
    only_one,
)

TARGET = "GraniteServiceVersion20100801.GetMetricData"
CONTENT_TYPE = "application/x-amz-json-1.0"
STEP_SECONDS_MIN = 60
"""What it keeps for longer than three hours."""
KEYS_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class CloudWatch:
    """Implements http_source.Dialect. `keys`: a file as AWS has it."""

    url: str
    region: str
    keys: Path
    kind: str = "cloudwatch"
    are_ends: bool = False

    def objection(self, query: str) -> str:
        return ""

    def window(self, window: Window) -> Window:
        """Of whole minutes: it keeps values by them."""
        step = STEP_SECONDS_MIN * math.ceil(window.step_seconds / STEP_SECONDS_MIN)
        return Window(window.since // STEP_SECONDS_MIN * STEP_SECONDS_MIN, window.until, step)

    def request(self, query: str, side: Side, window: Window, now: float) -> Request:
        asked = {
            "MetricDataQueries": [
                {"Id": "q", "Expression": plain(query, side, window), "Period": window.step_seconds}
            ],
            "StartTime": int(window.since),
            "EndTime": int(window.until),
            "ScanBy": "TimestampAscending",
        }
        body = json.dumps(asked).encode()
        headers = {"Content-Type": CONTENT_TYPE, "X-Amz-Target": TARGET}
        url = URL(f"{self.url.rstrip('/')}/", encoded=True)
        return Request(str(url), signed(url, body, headers, self.region, self._keys(), now), body=body)

    def points(self, answer: Any, window: Window) -> list[Point]:
        for each in answer["MetricDataResults"]:
            if each.get("StatusCode") not in (None, "Complete"):
                said = ", ".join(str(one.get("Value")) for one in each.get("Messages") or ())
                raise SourceError(f"cloudwatch: {each['StatusCode']}{f': {said[:300]}' if said else ''}")
        if answer.get("NextToken"):
            raise SourceError("cloudwatch has more than one page of it: take longer steps")
        return only_one(
            [
                [
                    (float(at), number(value))
                    for at, value in zip(each["Timestamps"], each["Values"], strict=True)
                ]
                for each in answer["MetricDataResults"]
            ],
            "series",
        )

    def _keys(self) -> Keys:
        try:
            with self.keys.open("rb") as opened:
                return keys_of(opened.read(KEYS_BYTES_MAX).decode())
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise SourceError(f"its keys {self.keys} can't be used: {why}") from None


def signed(
    url: URL, body: bytes, headers: dict[str, str], region: str, keys: Keys, at: float
) -> dict[str, str]:
    """The headers of a POST, with those that show whose it is."""
    time = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
    host = f"{url.raw_host}" if url.is_default_port() else f"{url.raw_host}:{url.port}"
    all_headers = {**headers, "X-Amz-Date": time}
    if keys.session:
        all_headers["X-Amz-Security-Token"] = keys.session
    by_name = sorted({name.lower(): value for name, value in {**all_headers, "Host": host}.items()}.items())
    names = ";".join(name for name, _ in by_name)
    request = "\n".join(
        (
            "POST",
            url.raw_path,
            "",
            *(f"{name}:{value}" for name, value in by_name),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{time[:8]}/{region}/monitoring/aws4_request"
    to_sign = "\n".join((ALGORITHM, time, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = signing_key(keys, time[:8], region, "monitoring")
    signature = hmac.digest(key, to_sign.encode(), hashlib.sha256).hex()
    shown = f"Credential={keys.access}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**all_headers, "Authorization": f"{ALGORITHM} {shown}"}

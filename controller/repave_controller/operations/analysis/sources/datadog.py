"""Datadog (docs.datadoghq.com, Query timeseries points, v1). Its keys are in two files: the API key and the
application key. What it rolls up over a long window it may give in longer steps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from repave_controller.operations.analysis.sources.asking import Request, secret
from repave_controller.operations.analysis.sources.placing import plain
from repave_controller.operations.analysis.sources.ports import (
    Point,
    Side,
    SourceError,
    Window,
    number,
    only_one,
)


@dataclass(frozen=True, slots=True)
class Datadog:
    """Implements http_source.Dialect."""

    url: str
    key: Path
    application_key: Path
    kind: str = "datadog"
    are_ends: bool = False

    def objection(self, query: str) -> str:
        return ""

    def window(self, window: Window) -> Window:
        return window

    def request(self, query: str, side: Side, window: Window, now: float) -> Request:
        asked = urlencode(
            {
                "from": f"{window.since:.0f}",
                "to": f"{window.until:.0f}",
                "query": plain(query, side, window),
            }
        )
        headers = {"DD-API-KEY": secret(self.key), "DD-APPLICATION-KEY": secret(self.application_key)}
        return Request(f"{self.url.rstrip('/')}/api/v1/query?{asked}", headers)

    def points(self, answer: Any, window: Window) -> list[Point]:
        if answer.get("status") != "ok":
            raise SourceError(f"datadog: {str(answer.get('error') or 'it has no success')[:300]}")
        series = [
            [(at / 1000, number(value)) for at, value in each["pointlist"]] for each in answer["series"]
        ]
        return only_one(series, "series")

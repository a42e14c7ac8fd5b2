"""Prometheus, and what speaks its language: Thanos, Mimir, VictoriaMetrics (prometheus.io/docs, HTTP API,
range queries). A query has one series; `{step}` is the seconds of a step, as in `increase(x[{step}s])`."""

from dataclasses import dataclass, field
from typing import Any

from repave_controller.operations.analysis.sources.asking import Request
from repave_controller.operations.analysis.sources.credentials import Credentials
from repave_controller.operations.analysis.sources.placing import in_labels, objection_to_labels
from repave_controller.operations.analysis.sources.ports import (
    Point,
    Side,
    SourceError,
    Window,
    number,
    only_one,
)


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Implements http_source.Dialect. `credentials`: headers, made anew for each request."""

    url: str
    credentials: Credentials = field(repr=False)
    seconds: float
    kind: str = "prometheus"
    are_ends: bool = True

    def objection(self, query: str) -> str:
        try:
            return objection_to_labels(query)
        except SourceError as error:
            return str(error)

    def window(self, window: Window) -> Window:
        return window

    def request(self, query: str, side: Side, window: Window, now: float) -> Request:
        asked = {
            "query": in_labels(query, side, window),
            "start": f"{window.since + window.step_seconds:.3f}",
            "end": f"{window.since + window.slots * window.step_seconds:.3f}",
            "step": str(window.step_seconds),
            "timeout": f"{self.seconds:g}s",
        }
        return Request(f"{self.url.rstrip('/')}/api/v1/query_range", self.credentials(), form=asked)

    def points(self, answer: Any, window: Window) -> list[Point]:
        if answer["status"] != "success":
            raise SourceError(f"prometheus: {str(answer.get('error', 'it has no success'))[:300]}")
        found = answer["data"]
        if found["resultType"] != "matrix":
            raise SourceError(f"the query is of a {found['resultType']}, and must have a series")
        series = [[(float(at), number(value)) for at, value in each["values"]] for each in found["result"]]
        return only_one(series, "series")

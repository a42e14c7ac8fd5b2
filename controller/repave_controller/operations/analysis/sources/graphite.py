"""Graphite's render API (graphite.readthedocs.io, The Render URL API, format=json). Of a name in a target the
dots are what Graphite makes folders of: they become `_`, as its clients write them."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from repave_controller.operations.analysis.sources.asking import Request
from repave_controller.operations.analysis.sources.credentials import Credentials
from repave_controller.operations.analysis.sources.placing import plain
from repave_controller.operations.analysis.sources.ports import Point, Side, Window, number, only_one


@dataclass(frozen=True, slots=True)
class Graphite:
    """Implements http_source.Dialect."""

    url: str
    credentials: Credentials = field(repr=False)
    kind: str = "graphite"
    are_ends: bool = False

    def objection(self, query: str) -> str:
        return ""

    def window(self, window: Window) -> Window:
        return window

    def request(self, query: str, side: Side, window: Window, now: float) -> Request:
        folder = dataclasses.replace(side, version=side.version.replace(".", "_"))
        asked = {
            "target": plain(query, folder, window),
            "from": f"{window.since - 1:.0f}",  # what is at `from` itself Graphite leaves out
            "until": f"{window.until:.0f}",
            "format": "json",
            "noCache": "1",
        }
        return Request(f"{self.url.rstrip('/')}/render", self.credentials(), form=asked)

    def points(self, answer: Any, window: Window) -> list[Point]:
        if not isinstance(answer, list):
            raise TypeError("the targets are a list")
        series = [[(float(at), number(value)) for value, at in each["datapoints"]] for each in answer]
        return only_one(series, "series")

"""InfluxDB by InfluxQL, which its versions 1 to 3 have (docs.influxdata.com, /query). The query chooses the
time by `{since}` and `{until}`, seconds, as in `WHERE time >= {since}s AND time < {until}s`, and has one
column beside it."""

from dataclasses import dataclass, field
from typing import Any

from repave_controller.operations.analysis.sources.asking import Request
from repave_controller.operations.analysis.sources.credentials import Credentials
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
class InfluxDb:
    """Implements http_source.Dialect."""

    url: str
    database: str
    credentials: Credentials = field(repr=False)
    kind: str = "influxdb"
    are_ends: bool = False

    def objection(self, query: str) -> str:
        if ";" in query:
            return "it must be one statement, without ;"
        if query.split()[:1] != ["SELECT"]:
            return "it must begin with SELECT"
        if "{since}" not in query or "{until}" not in query:
            return "it must choose its time: WHERE time >= {since}s AND time < {until}s"
        return ""

    def window(self, window: Window) -> Window:
        return window

    def request(self, query: str, side: Side, window: Window, now: float) -> Request:
        if why := self.objection(query):
            raise SourceError(why)
        asked = {"db": self.database, "epoch": "ms", "q": plain(query, side, window)}
        return Request(f"{self.url.rstrip('/')}/query", self.credentials(), form=asked)

    def points(self, answer: Any, window: Window) -> list[Point]:
        (result,) = answer["results"]
        if said := answer.get("error") or result.get("error"):
            raise SourceError(f"influxdb: {str(said)[:300]}")
        series = []
        for each in result.get("series", ()):
            if len(each["columns"]) != 2:
                raise SourceError(f"the query has the columns {', '.join(each['columns'])[:200]}: name one")
            series.append([(at / 1000, number(value)) for at, value in each["values"]])
        return only_one(series, "series")

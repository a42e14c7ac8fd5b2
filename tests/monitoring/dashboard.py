"""Reads the dashboard in deploy/grafana, and its queries as Grafana would send them."""

import json
from typing import Any

from tests.support.prometheus import DASHBOARD


def read() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panels() -> list[dict[str, Any]]:
    return list(read()["panels"])


def queries() -> dict[str, str]:
    """Expression to the title of its panel, with every application and region chosen."""
    return {
        as_sent(target["expr"]): panel["title"] for panel in panels() for target in panel.get("targets", ())
    }


def variables() -> list[str]:
    found = read()["templating"]["list"]
    return [each["query"]["query"] for each in found if each["type"] == "query"]


def as_sent(expression: str) -> str:
    for name, value in {"$application": ".*", "$region": ".*", "$__rate_interval": "1m"}.items():
        expression = expression.replace(name, value)
    return expression

"""Reads a host's spec from the records that providers keep of their hosts, as JSON of dataclasses.asdict."""

from typing import Any

from pydantic import TypeAdapter

from repave_agent.core.ports import HostSpec

_SPEC = TypeAdapter(HostSpec)


def read_spec(raw: dict[str, Any]) -> HostSpec:
    """Raises ValueError, KeyError, TypeError."""
    return _SPEC.validate_python(raw if "template" in raw else _with_template(raw))


def _with_template(raw: dict[str, Any]) -> dict[str, Any]:
    """Version 0.1 kept no more of the template than this; no provider reads the rest."""
    template = {
        "run": raw["run"],
        "environment": raw["environment"],
        "probe": {"kind": "tcp", "port": raw["port"]},
        "min_healthy_seconds": 0.0,
        "launch_deadline_seconds": 0.0,
        "drain_seconds": 0.0,
    }
    names = ("name", "group", "application", "digest")
    return {"template": template, **{name: raw[name] for name in names}}

"""Reads what version 0.1 saved: there the fields of a HostTemplate lay among others."""

from typing import Any

_FIELDS = {
    "run": "run",
    "environment": "environment",
    "probe": "probe",
    "min_healthy_seconds": "min_healthy_seconds",
    "start_deadline_seconds": "launch_deadline_seconds",
    "drain_seconds": "drain_seconds",
}


def with_templates(value: Any) -> Any:
    """`value`, as JSON has it, with the fields of hosts moved into a `template`, however deep they lie."""
    if isinstance(value, list):
        return [with_templates(each) for each in value]
    if not isinstance(value, dict):
        return value
    if not _FIELDS.keys() <= value.keys():
        return {name: with_templates(each) for name, each in value.items()}
    template = {new: value[old] for old, new in _FIELDS.items()}
    others = {name: with_templates(each) for name, each in value.items() if name not in _FIELDS}
    return {**others, "template": template}

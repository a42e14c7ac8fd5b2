"""Reads a host's spec from the records that providers keep of their hosts, as JSON of dataclasses.asdict; and
what a spec may not ask of hosts that are no machines of their own.
"""

from typing import Any

from pydantic import TypeAdapter

from repave_agent.core.ports import HostSpec, RefusedError
from repave_protos.protocol.values import HostTemplate

_SPEC = TypeAdapter(HostSpec)


def read_spec(raw: dict[str, Any]) -> HostSpec:
    """Raises ValueError, KeyError, TypeError."""
    return _SPEC.validate_python(raw if "template" in raw else _with_template(raw))


def check_needs_no_machine(provider: str, template: HostTemplate) -> None:
    """For hosts on machines that are there already. Raises RefusedError naming what is not theirs."""
    wishes = {
        "host.image": (template.machine_image, "no machine image"),
        "host.size": (template.machine_sizes, "no size that can be chosen"),
        "host.spot": (template.is_spot, "no machine of their own, spot or not"),
    }
    for field, (is_given, has_none) in wishes.items():
        if is_given:
            raise RefusedError(f"{field}: hosts of provider {provider} have {has_none}: leave it out")


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

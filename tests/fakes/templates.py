"""Short ways to say what a host is made of, for the tests of both sides."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TypeVar

from repave_agent.core.ports import HostSpec
from repave_controller.core.domain.application import ReleaseOrder
from repave_protos.protocol.values import DesiredGroup, HostTemplate, Probe

Value = TypeVar("Value", DesiredGroup, ReleaseOrder, HostSpec)
_FIELDS = {each.name for each in fields(HostTemplate)}


def a_template(
    run: tuple[str, ...] = ("./serve",),
    environment: tuple[tuple[str, str], ...] = (),
    port: int = 8080,
    **changes: object,
) -> HostTemplate:
    template = HostTemplate(run, environment, Probe("http", port), 1.0, 30.0, 10.0)
    return replace(template, **changes)  # type: ignore[arg-type]  # keyword arguments of the dataclass


def changed(value: Value, changes: Mapping[str, object]) -> Value:
    """`value` with these fields, those of its template among them."""
    of_hosts = {name: each for name, each in changes.items() if name in _FIELDS}
    others = {name: each for name, each in changes.items() if name not in _FIELDS}
    template = replace(value.template, **of_hosts)  # type: ignore[arg-type]  # keyword arguments
    return replace(value, **{"template": template, **others})  # type: ignore[arg-type]  # keyword arguments

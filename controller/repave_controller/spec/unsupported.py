"""Says which options a section of the spec has, and which ones only later versions of repave will take.

For the error messages of loader.py: an unknown option is either one of these, or misspelt.
"""

import typing
from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from repave_controller.spec.spec import Spec

Path = Sequence[str | int]

LATER = {
    "artifact.unpack": "unpacks into a folder of the host's own",
    "host.flavor": "has one kind of host only",
    "host.boot": "runs nothing but host.run on a host",
    "regions.zones": "knows no zones",
    "regions.options": "leaves what a provider needs to its agent's settings",
    "strategy.canary.baseline": "has it under analyse",
    "strategy.canary.lockstep": "has lockstep under waves",
    "guards.hosts_in_flight": "leaves the number of launches at once to each agent's limits",
    "guards.regions_in_flight": "has waves.parallel for that, and limits.regions_in_flight of the controller",
}


def later_option(path: Path) -> str:
    """What this version does instead of the option at `path`; "" if no version is known to take it."""
    return LATER.get(".".join(part for part in path if isinstance(part, str)), "")


def options(section: Path) -> tuple[str, ...]:
    """The names of the options in the section at `section`; empty where there is no section."""
    model: type[BaseModel] | None = Spec
    is_named = False  # by people: the key of a mapping of sections comes next
    for part in section:
        if model is not None and isinstance(part, str) and not is_named:
            is_named = _is_mapping(model, part)
            model = _section_model(model, part)
        else:
            is_named = False
    return tuple(field.alias or name for name, field in model.model_fields.items()) if model else ()


def _section_model(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    found = (field for own, field in model.model_fields.items() if name in (own, field.alias))
    return next((model for field in found for model in _models(field.annotation)), None)


def _is_mapping(model: type[BaseModel], name: str) -> bool:
    found = (field for own, field in model.model_fields.items() if name in (own, field.alias))
    return any(typing.get_origin(field.annotation) is dict for field in found)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """The sections in a type such as `tuple[Region, ...]` or `Http | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models(argument)

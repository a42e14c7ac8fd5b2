"""What was wanted of a cloud's load balancer last, on the agent's disk: for what the cloud can't hold."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from repave_agent.balancers.cloud.fallback import in_effect
from repave_agent.balancers.haproxy.config import structure_from
from repave_agent.core.ports import Route, Structure
from repave_protos.daemon.files import read_file
from repave_protos.protocol.values import GroupName


@dataclass(frozen=True, slots=True)
class Wanted:
    """`served`: groups that had traffic; connections may be theirs. `down`: those without a server up when
    they were last seen. `is_known`: False as long as nothing was ever wanted, so what is there is adopted."""

    owner: str
    structure: Structure = field(default_factory=Structure)
    routes: tuple[Route, ...] = ()
    served: tuple[GroupName, ...] = ()
    is_known: bool = False
    down: tuple[GroupName, ...] = ()

    @property
    def in_effect(self) -> tuple[Route, ...]:
        """The routes to give now."""
        return tuple(in_effect(route, self.down) for route in self.routes)

    def asked(self, read: tuple[Route, ...]) -> tuple[Route, ...]:
        """Routes as they were asked for, where what was read is what follows from them now."""
        given = {route.application: in_effect(route, self.down) for route in self.routes}
        asked = {route.application: route for route in self.routes}
        return tuple(
            asked[each.application] if given.get(each.application) == each else each for each in read
        )

    def tidied(self) -> "Wanted":
        """Without what is known of groups that are not wanted any more."""
        groups = {backend.group for backend in self.structure.backends}
        served = tuple(group for group in self.served if group in groups)
        return replace(self, served=served, down=tuple(group for group in self.down if group in groups))


def read_wanted(file: Path) -> Wanted | None:
    try:
        raw: dict[str, Any] = json.loads(read_file(file))
    except (FileNotFoundError, ValueError):
        return None
    routes = tuple(Route(**each) for each in raw["routes"])
    structure, down = structure_from(raw["structure"]), tuple(raw.get("down", ()))
    return Wanted(raw["owner"], structure, routes, tuple(raw["served"]), raw["is_known"], down)


def write_wanted(file: Path, wanted: Wanted) -> None:
    part = file.with_suffix(".part")
    part.write_text(json.dumps(asdict(wanted)))
    part.replace(file)

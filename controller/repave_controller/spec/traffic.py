"""The section `traffic` of a spec: how clients reach the application, and who of them gets which side."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)

from repave_controller.spec.fronts import FrontSection, compiled
from repave_controller.spec.quantities import Duration, PositiveDuration, wrong
from repave_controller.spec.sections import (
    KindName,
    Port,
    Section,
    as_written,
    check_region_name,
    contradiction,
)
from repave_protos.protocol.fronts import FRONTS_MAX, TrafficFront, front_faults
from repave_protos.protocol.values import MARK_NAME, MARK_VALUE

BALANCER_SECONDS_MIN, BALANCER_SECONDS_MAX = 0.001, 7 * 86_400.0


def _check_mark_name(text: str) -> str:
    if MARK_NAME.fullmatch(text) is None:
        raise wrong("must be 1 to 64 letters, digits, _ . or -")
    return text


def _check_mark_value(text: str) -> str:
    if MARK_VALUE.fullmatch(text) is None:
        raise wrong("must be 1 to 200 letters, digits or _ . : / = + @ ~ -; anything else could be misread")
    return text


MarkName = Annotated[str, AfterValidator(_check_mark_name)]
MarkValue = Annotated[str, AfterValidator(_check_mark_value)]


def _check_balancer_seconds(seconds: float) -> float:
    if not BALANCER_SECONDS_MIN <= seconds <= BALANCER_SECONDS_MAX:
        raise wrong("must be between 1ms and 7d")
    return seconds


BalancerSeconds = Annotated[PositiveDuration, AfterValidator(_check_balancer_seconds)]


class Testers(Section):
    """Requests that see the new group before all others. Exactly one of header, cookie."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [kind]} for kind in ("header", "cookie")]}
    )

    header: MarkName | None = Field(None, description="The header by which testers are known.")
    cookie: MarkName | None = Field(None, description="The cookie by which testers are known.")
    value: MarkValue = Field(description="What they send in it, exactly.")

    @property
    def by(self) -> Literal["cookie", "header"]:
        return "header" if self.header is not None else "cookie"

    @property
    def name(self) -> str:
        return self.header or self.cookie or ""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.header is None and self.cookie is None:
            raise wrong("say how testers are known: header: NAME or cookie: NAME")
        if self.header is not None and self.cookie is not None:
            raise contradiction(
                "testers are known in one way only; leave out header or cookie", ("header",), ("cookie",)
            )
        return self


class TimeoutsSection(Section):
    """How long a connection may be silent before the balancer ends it."""

    client: BalancerSeconds = Field(as_written("60s"), description="Between two parts of a request.")
    server: BalancerSeconds = Field(
        as_written("60s"), description="Until a host begins its answer, and between two parts of it."
    )
    tunnel: BalancerSeconds = Field(
        as_written("1h"), description="Of an upgraded connection such as a websocket, either way."
    )


class Traffic(Section):
    """How clients reach the application."""

    balancer: KindName | None = Field(
        None,
        description="The balancer that every region must have: `haproxy`, run by its agent, "
        "`haproxy_runtime`, `octavia`, `aws_alb`, `azure_lb`, `gcp_lb`; each region's own if left out.",
    )
    frontend: Annotated[str, AfterValidator(check_region_name)] | None = Field(
        None, description="What the way in is called; the application's name if left out."
    )
    port: Port | None = Field(
        None, description="Where clients connect, in every region: short for one front of plain HTTP."
    )
    fronts: (
        Annotated[tuple[FrontSection, ...], Field(strict=False, min_length=1, max_length=FRONTS_MAX)] | None
    ) = Field(None, description="The ways by which clients reach the application, the main one first.")
    split: Literal["request", "cookie", "header"] = Field(
        "request",
        description="What is given to a side. `request`: each request, by chance. `cookie` or `header`: each "
        "user, by the value of that cookie or header, and stays there.",
    )
    cookie: MarkName | None = Field(None, description="With split cookie: the one that names the user.")
    header: MarkName | None = Field(None, description="With split header: the one that names the user.")
    testers: Testers | None = Field(
        None, description="Who sees the new group at weight 0, as soon as it is verified."
    )
    drain: Duration = Field(as_written("30s"), description="How long requests in flight may take to finish.")
    timeouts: TimeoutsSection | None = Field(
        None,
        description="How long connections may be silent; not in an operator's HAProxy, which has its own.",
    )
    protect: bool = Field(
        True,
        description="During a rollout traffic leaves a group that can't serve its share for the other one, "
        "when that one can; the rollout is then held.",
    )

    @property
    def main_port(self) -> int:
        """Of the main front."""
        if self.fronts is not None:
            return self.fronts[0].port
        assert self.port is not None, "one of both is there"
        return self.port

    @property
    def compiled_fronts(self) -> tuple[TrafficFront, ...]:
        return compiled(self.fronts or ())

    @model_validator(mode="after")
    def _has_one_way_in(self) -> Self:
        if self.port is None and self.fronts is None:
            raise wrong("say where clients connect: port: 8000, or fronts")
        if self.port is not None and self.fronts is not None:
            text = "port is short for one front of plain HTTP: leave out port, or fronts"
            raise contradiction(text, ("port",), ("fronts",))
        fronts = tuple(section.front for section in self.fronts or ())
        for number in range(len(fronts)):
            for fault in front_faults(fronts[: number + 1]):
                raise contradiction(fault, ("fronts", number))
        return self

    @model_validator(mode="after")
    def _can_tell_users(self) -> Self:
        fronts = self.compiled_fronts
        if not fronts or not all(front.is_tcp for front in fronts):
            return self
        for option in ("split", "testers"):
            if option in self.model_fields_set and getattr(self, option) not in (None, "request"):
                text = "tcp has no cookies and headers, connections go to a side by chance: leave it out"
                raise contradiction(text, ("fronts",), (option,))
        return self

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        names = {"cookie": self.cookie, "header": self.header}
        for kind, name in names.items():
            if self.split == kind and name is None:
                raise contradiction(
                    f"say which: add {kind}: NAME, the {kind} that names the user", ("split",)
                )
            if self.split != kind and name is not None:
                raise contradiction(
                    f"names a user only with split: {kind}; this spec splits by {self.split}",
                    ("split",),
                    (kind,),
                )
        return self


# ------------------------------------------------------------------------------------------- no requests

NONE = "none"
"""Of an application that takes no requests, a worker: written, so that one that was forgotten is told."""


def _of_none(written: Any) -> Any:
    if written == NONE:
        return None
    if not isinstance(written, dict | Traffic):
        raise wrong(
            f"say where clients connect: {{port: 8000}}; or {NONE}, of a worker, which takes no requests"
        )
    return written


class _OrNone:
    """In the schema, `none` as well."""

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(core), {"const": NONE}]}


TrafficOrNone = Annotated[Traffic | None, BeforeValidator(_of_none), _OrNone()]

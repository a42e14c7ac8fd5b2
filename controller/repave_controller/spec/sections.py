"""The sections of a spec: what each option is called, may hold, means and defaults to.

The descriptions are the documentation of the spec: editors show them. Values that a later version will take
are refused here, never ignored; options of later versions are in unsupported.py. Rules over several sections
are spec.py's.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from repave_controller.core.domain.audience import USUAL, Occasion
from repave_controller.core.domain.bounds import REGIONS_MAX, SIZE_MAX
from repave_controller.core.domain.naming import NamingError, check_part, check_region
from repave_controller.spec.places import IMAGE, IMAGE_PATTERN, is_remote, remote_fault
from repave_controller.spec.quantities import (
    Command,
    Duration,
    PositiveDuration,
    PositiveShare,
    Share,
    Sizes,
    check_places,
    fill,
    wrong,
)
from repave_protos.protocol.capabilities import KIND_NAME
from repave_protos.protocol.health_requests import header_fault, headers_fault, host_fault, path_fault
from repave_protos.protocol.secret_places import (
    FAULTS,
    SECRET_NAME,
    SECRET_PLACE_LENGTH_MAX,
    SECRETS_MAX,
    SOURCES,
    VAULT_EXAMPLE,
)
from repave_protos.protocol.values import (
    MACHINE_IMAGE_LENGTH_MAX,
    Drift,
    HealthSource,
)

NO_MACHINE_IMAGE = "local"
ENVIRONMENT_MAX = 256
TEXT_LENGTH_MAX = 8192
PATH_LENGTH_MAX = 1024
KEEP_GROUPS_MAX = 10
TIMES_MAX = 100
STOP_GRACE_SECONDS_MAX = 540.0
"""Agents end a host within ten minutes, or begin again."""
"""HAProxy counts milliseconds, for 24 days at most."""
PROBE_SECONDS_MIN, PROBE_SECONDS_MAX = 0.001, 3600.0
"""What balancers take as the time of one check."""
BALANCER_FALLS_MIN = 2
"""If one failure took a server down, HAProxy would show one that was just enabled as one that has passed."""
LABEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$"
SET_BY_REPAVE = ("HOST", "PORT")
NO_SECRETS = ("PATH",)
_REGION = re.compile(r"\{region\}")
_VARIABLE = re.compile(r"\$(?:\$|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, validate_default=True, defer_build=True
    )


def as_written(default: str) -> Any:
    """A default in the words of the file; it is read like what users write."""
    return default


def contradiction(text: str, *fields: tuple[str | int, ...]) -> PydanticCustomError:
    """An error of fields, by their paths in the section; it is shown at the one that is last in the file."""
    return PydanticCustomError("contradiction", "{text}", {"text": text, "fields": fields})


Label = Annotated[str, Field(pattern=LABEL_PATTERN)]


def name_of(kind: str) -> AfterValidator:
    def check(text: str) -> str:
        try:
            return check_part(kind, text)
        except NamingError as error:
            raise wrong(str(error)) from None

    return AfterValidator(check)


def check_region_name(text: str) -> str:
    """Raises ValueError."""
    try:
        return check_region(text)
    except NamingError as error:
        raise wrong(str(error)) from None


def _check_kind(text: str) -> str:
    """Any name: which kinds there are is known where agents are; see agreement.py."""
    if KIND_NAME.fullmatch(text) is None:
        raise wrong("must be 1 to 32 of a-z, 0-9 and _, such as openstack or ssh_pool")
    return text


def _check_line(text: str) -> str:
    if not text.isprintable():
        raise wrong("must be one line of printable characters")
    return text


def _check_image(text: str) -> str:
    return check_places(_check_line(text), knows_region=True)


def _check_value(text: str) -> str:
    if "\0" in text:
        raise wrong("can't hold NUL characters")
    return check_places(text, knows_region=True)


def _check_stop_grace(seconds: float) -> float:
    if seconds > STOP_GRACE_SECONDS_MAX:
        raise wrong("at most 9m: give a job that takes longer a place from which another host goes on")
    return seconds


def _check_health_path(text: str) -> str:
    if fault := path_fault(text):
        raise wrong(fault)
    return text


def _check_health_host(text: str) -> str:
    if fault := host_fault(text):
        raise wrong(fault)
    return text


Port = Annotated[int, Field(ge=1, le=65_535)]
Times = Annotated[int, Field(ge=1, le=TIMES_MAX)]
Line = Annotated[str, Field(max_length=200), AfterValidator(_check_line)]
KindName = Annotated[str, AfterValidator(_check_kind)]


def _local(uri: str) -> str:
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", uri)
    if scheme is not None:
        raise wrong(f"{scheme[0]} is not taken: https://, s3://, or a path relative to this file")
    return uri


def place_of(source: str) -> AfterValidator:
    """A place of this source, as people write it."""

    def check(text: str) -> str:
        if len(text) > SECRET_PLACE_LENGTH_MAX:
            raise wrong(f"at most {SECRET_PLACE_LENGTH_MAX} characters")
        known = text if source == "env" else _REGION.sub("region", text)
        filled = fill(check_places(known), "version", "app")
        if fault := FAULTS[source](filled):
            raise wrong(fault)
        return text

    return AfterValidator(check)


def variables_in(word: str) -> set[str]:
    """The variables that a word of a command names."""
    return {found[1] or found[2] for found in _VARIABLE.finditer(word)}


def secret_in_word(word: str, secrets: Mapping[str, "Secret"]) -> str:
    """Why a word of a command can't stay as it is: a secret in it could be read by all users of a machine."""
    for found in _VARIABLE.finditer(word):
        name = found[1] or found[2]
        if name not in secrets:
            continue
        if secrets[name].form == "file":
            return f"${name} is a file here: write ${name}_FILE for its path"
        return (
            f"${name} would put a secret among the command's words, which all users of a machine can read: "
            f"let the program read its variable, write $${name} where a shell reads it, or hand it over as a "
            f"file and write ${name}_FILE"
        )
    return ""


class Artifact(Section):
    """What CI built; every host in every region proves the same digest."""

    uri: (
        Annotated[str, Field(min_length=1, max_length=PATH_LENGTH_MAX), AfterValidator(_check_line)] | None
    ) = Field(
        None,
        description="Folder or .tar.gz with the application, relative to this file; or a .tar.gz by https:// "
        "or s3://, which the controller fetches. {version} and {app} are put in.",
    )
    oci: Annotated[str, Field(max_length=PATH_LENGTH_MAX)] | None = Field(
        None,
        description="An OCI image in place of a package, with its registry and digest, which podman runs on "
        "each host: registry.example.com/shop@sha256:...",
    )
    sha256: Annotated[str, Field(pattern=r"^(required|[0-9a-f]{64})$")] | None = Field(
        None, description="A literal digest of the package, or `required`: repave release must name it."
    )

    signature: (
        Annotated[str, Field(min_length=1, max_length=PATH_LENGTH_MAX), AfterValidator(_check_line)] | None
    ) = Field(
        None,
        description="The package's signature by minisign or signify, or its bundle of sigstore, if it is not "
        "beside it as .minisig, .sig or .sigstore.json; {version} and {app} are put in.",
    )

    @property
    def address(self) -> str:
        """Where it comes from, as one word."""
        return f"{IMAGE}{self.oci}" if self.uri is None else self.uri

    @field_validator("oci")
    @classmethod
    def _is_pinned(cls, oci: str | None) -> str | None:
        if oci is not None and re.fullmatch(IMAGE_PATTERN, oci) is None:
            raise wrong(
                "write an image with its registry and its digest: registry.example.com/shop@sha256:... (64 "
                "digits; podman image inspect --format '{{.Digest}}' tells it)"
            )
        return oci

    @field_validator("uri", "signature")
    @classmethod
    def _is_known_kind(cls, uri: str | None) -> str | None:
        if uri is None or not is_remote(uri):
            return uri if uri is None else check_places(_local(uri))
        if fault := remote_fault(uri):
            raise wrong(fault)
        return check_places(uri)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if (self.uri is None) is (self.oci is None):
            raise contradiction("exactly one of uri and oci is needed", ("uri",), ("oci",))
        if self.uri is None:
            for name in ("sha256", "signature"):
                if getattr(self, name) is not None:
                    raise contradiction("an image has its digest in oci, and no package of yours", (name,))
            return self
        if is_remote(self.uri) and "{version}" not in self.uri and self.sha256 in (None, "required"):
            raise contradiction(
                "without {version} in it another package may come from there at any time: put it in, or give "
                "sha256",
                ("uri",),
            )
        if self.signature is not None and is_remote(self.signature) and not is_remote(self.uri):
            raise contradiction("can't be fetched for a package that is not", ("signature",))
        return self


class Secret(Section):
    """Where a secret is kept; exactly one of vault, file and env."""

    vault: Annotated[str, place_of("vault")] | None = Field(
        None,
        description="Mount, path and key in the Vault (or OpenBao) of the region's agent, such as "
        "kv/checkout#url. KV version 1 or 2: leave data/ out.",
    )
    file: Annotated[str, place_of("file")] | None = Field(
        None, description="A file on the agent's machine, below the folder of its settings for this app."
    )
    env: Annotated[str, place_of("env")] | None = Field(
        None, description="A variable of the agent, such as REPAVE_SECRET_CHECKOUT__URL for the app checkout."
    )
    form: Literal["env", "file"] = Field(
        "env",
        alias="as",
        description="`env`: the variable holds the secret. `file`: a file in memory does, and NAME_FILE its "
        "path.",
    )

    @property
    def place(self) -> tuple[str, str]:
        """Its source, and where it is there."""
        written = ((source, getattr(self, source)) for source in SOURCES)
        return next((source, where) for source, where in written if where is not None)

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        written = [(source,) for source in SOURCES if getattr(self, source) is not None]
        if not written:
            raise wrong(f"say where it is kept: {{vault: {VAULT_EXAMPLE}}}, {{file: /path}} or {{env: NAME}}")
        if len(written) > 1:
            raise contradiction("a secret is kept in one place: name one of vault, file and env", *written)
        return self


def _check_names(env: dict[str, str]) -> dict[str, str]:
    for name in env:
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", name) is None:
            raise contradiction(f"{name!a} can't name a variable: letters, digits and _", (name,))
        if name in SET_BY_REPAVE or name.startswith("REPAVE_"):
            raise contradiction("is set by repave; choose another name", (name,))
    return env


MachineImage = Annotated[
    str, Field(min_length=1, max_length=MACHINE_IMAGE_LENGTH_MAX), AfterValidator(_check_image)
]
Environment = Annotated[
    dict[str, Annotated[str, Field(max_length=TEXT_LENGTH_MAX), AfterValidator(_check_value)]],
    Field(max_length=ENVIRONMENT_MAX),
    AfterValidator(_check_names),
]


class Host(Section):
    """What a fresh host is made of."""

    image: MachineImage | None = Field(
        None,
        description="The machine image of a host, by name or id, where the provider starts machines; that of "
        "the agent's settings if left out. `local`: there is none, a host is a process on what is there.",
    )
    size: Sizes | None = Field(
        None,
        description="How large a machine is, where the provider starts machines: a size of the agent's "
        "settings such as `xl`, or the cloud's own name such as `m7i.2xlarge`; or a list, the best one "
        "first: the next one is taken where it has no room. That of the agent's settings if left out.",
    )
    spot: bool = Field(
        False,
        description="Machines at the price of spare capacity, which their cloud may take back at any time: "
        "a fresh one then takes the place of the one that was lost.",
    )
    run: Command | None = Field(
        None,
        description="The command that serves, as a line or as a list of words. $HOST and $PORT say where to "
        "listen; no shell runs it. Required, but for an image that has a command of its own.",
    )
    env: Environment = Field({}, description="Environment of the command.")
    secrets: dict[str, Secret] = Field(
        {},
        description="Secrets of the command, by the variables that hold them: where each is kept, never the "
        "secret itself. The region's agent reads them when it launches a host.",
        max_length=SECRETS_MAX,
    )

    stop_grace: Annotated[Duration, AfterValidator(_check_stop_grace)] | None = Field(
        None,
        description="How long a worker may take to finish what it does, from SIGTERM to SIGKILL; as the "
        "agent's settings say if that is longer, or this left out.",
    )
    max_age: PositiveDuration | None = Field(
        None, description="An older host is replaced by a fresh one, also when nothing is released."
    )
    drift: Drift = Field(
        "ignore",
        description="What becomes of a host that is no longer as it was made: `ignore`, `report` or `taint`, "
        "which replaces it.",
    )
    renew_at_once: PositiveShare = Field(
        as_written("10%"),
        description="Share of a region's hosts, at least one, that may be replaced at a time when they are "
        "too old, changed, tainted or renewed.",
    )

    @property
    def machine_image(self) -> str:
        """ "" where the region's settings name it, or there is none."""
        return "" if self.image in (None, NO_MACHINE_IMAGE) else str(self.image)

    @field_validator("run")
    @classmethod
    def _has_known_places(cls, run: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return run if run is None else tuple(map(check_places, run))

    @field_validator("secrets")
    @classmethod
    def _have_good_names(cls, secrets: dict[str, Secret]) -> dict[str, Secret]:
        for name in secrets:
            if SECRET_NAME.fullmatch(name) is None:
                raise contradiction(f"{name!a} can't name a variable: letters, digits and _", (name,))
            if name in SET_BY_REPAVE or name.startswith("REPAVE_"):
                raise contradiction("is set by repave; choose another name", (name,))
            if name in NO_SECRETS:
                raise contradiction("is no secret: programs are found by it; set it in host.env", (name,))
        return secrets

    @model_validator(mode="after")
    def _asks_for_no_machine_without_one(self) -> Self:
        for field, is_given in (("size", self.size is not None), ("spot", self.spot)):
            if self.image == NO_MACHINE_IMAGE and is_given:
                text = "a host on what is there is no machine of its own: leave it out, or image: local"
                raise contradiction(text, ("image",), (field,))
        return self

    @model_validator(mode="after")
    def _gives_each_variable_once(self) -> Self:
        variables: dict[str, str] = {}
        for name, secret in self.secrets.items():
            found = f"{name}_FILE" if secret.form == "file" else name
            if found in self.env:
                text = f"{found} is both in host.env and set by host.secrets.{name}: leave it out of one"
                raise contradiction(text, ("env", found), ("secrets", name))
            if found in variables:
                text = f"{found} is set by host.secrets.{variables[found]} as well: rename one"
                raise contradiction(text, ("secrets", variables[found]), ("secrets", name))
            variables[found] = name
        for word in self.run or ():
            if fault := secret_in_word(word, self.secrets):
                raise contradiction(fault, ("run",))
        return self


class Http(Section):
    """Healthy is what answers a GET with this status."""

    port: Port = Field(description="Where the application serves; also the port that takes the traffic.")
    path: Annotated[str, AfterValidator(_check_health_path)] = Field("/", description="What is asked for.")
    expect: Annotated[int, Field(ge=100, le=599)] = Field(200, description="The status that is healthy.")
    host: Annotated[str, AfterValidator(_check_health_host)] | None = Field(
        None,
        description="What the request says in Host, where the application answers only to its name; "
        "localhost if left out.",
    )
    headers: dict[str, str] = Field(
        {},
        description="Headers that the request has besides. User-Agent and Accept have a value if left out.",
    )

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if fault := header_fault(name, value):
                raise contradiction(fault, (name,))
        if fault := headers_fault(tuple(headers.items())):
            raise wrong(fault)
        return headers


class Tcp(Section):
    """Healthy is what accepts a connection."""

    port: Port = Field(description="Where the application serves; also the port that takes the traffic.")


class CommandProbe(Section):
    """Healthy is where this command ends with 0."""

    port: Port | None = Field(
        None,
        description="Where the application serves: the port that takes the traffic. A worker may have none.",
    )
    run: Command = Field(description="The command, as a line or as a list of words. No shell runs it.")

    @field_validator("run")
    @classmethod
    def _has_known_places(cls, run: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(check_places, run))


class Health(Section):
    """When a host may take traffic, and when it may not any more. Exactly one of http, tcp, command."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [kind]} for kind in ("http", "tcp", "command")]}
    )

    http: Http | None = Field(None, description="Ask by HTTP.")
    tcp: Tcp | None = Field(None, description="Ask by connecting.")
    command: CommandProbe | None = Field(None, description="Ask by running a command.")
    by: HealthSource = Field(
        "agent",
        description="Whose checks say whether a host that takes requests is healthy: those of the region's "
        "agent, or of its balancer where that sends the same.",
    )
    interval: PositiveDuration = Field(as_written("2s"), description="From one question to the next.")
    timeout: PositiveDuration | None = Field(
        None, description="How long an answer may take. 1s, or the interval if that is shorter."
    )
    healthy_after: Times = Field(1, description="Good answers in a row that make a host healthy.")
    unhealthy_after: Times = Field(2, description="Bad answers in a row that make a host unhealthy.")
    min_healthy_time: Duration = Field(
        as_written("10s"), description="How long a host is healthy before it is proven."
    )
    launch_deadline: PositiveDuration = Field(
        as_written("5m"), description="A host that is not healthy by then has failed."
    )
    ready_percent: PositiveShare = Field(
        as_written("100%"), description="Share of a region's hosts that must be proven before traffic moves."
    )
    launch_failures: Annotated[int, Field(ge=0, le=SIZE_MAX)] | None = Field(
        None,
        description="How many hosts of a new group may fail in a region before it is given up; 5, or one of "
        "five hosts, if left out.",
    )
    heal_within: Duration | None = Field(
        None,
        description="How long a region has to replace hosts that are lost in a soak or after it, before that "
        "fails the release; launch_deadline if left out, 0s: no time.",
    )

    @property
    def probe(self) -> Http | Tcp | CommandProbe:
        chosen = self.http or self.tcp or self.command
        assert chosen is not None, "checked below"
        return chosen

    @property
    def heal_seconds(self) -> float:
        return self.launch_deadline if self.heal_within is None else self.heal_within

    @property
    def timeout_seconds(self) -> float:
        return min(1.0, self.interval) if self.timeout is None else self.timeout

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        kinds = [kind for kind in ("http", "tcp", "command") if getattr(self, kind) is not None]
        if not kinds:
            raise wrong("say how hosts are asked: add http: {port: 8080, path: /}, or tcp, or command")
        if len(kinds) > 1:
            raise contradiction(
                f"hosts are asked in one way only; leave out {' or '.join(kinds)}",
                *((kind,) for kind in kinds),
            )
        if self.by == "balancer":
            self._suits_a_balancer()
        if not PROBE_SECONDS_MIN <= self.timeout_seconds <= PROBE_SECONDS_MAX:
            raise contradiction("must be between 1ms and 1h", ("timeout",), ("interval",))
        if self.timeout_seconds > self.interval:
            raise contradiction(
                "an answer may not take longer than the interval: timeout <= interval",
                ("interval",),
                ("timeout",),
            )
        if self.min_healthy_time >= self.launch_deadline:
            raise contradiction(
                "min_healthy_time must be shorter than launch_deadline",
                ("min_healthy_time",),
                ("launch_deadline",),
            )
        return self

    def _suits_a_balancer(self) -> None:
        if self.command is not None:
            raise contradiction(
                "a balancer runs no commands inside hosts: ask by http or tcp, or set by: agent",
                ("by",),
                ("command",),
            )
        if self.unhealthy_after < BALANCER_FALLS_MIN:
            raise contradiction(
                "a balancer calls a host down after 2 bad answers, not after 1: set unhealthy_after to 2 or "
                "more, or by: agent",
                ("by",),
                ("unhealthy_after",),
            )


class Keep(Section):
    """How long old groups stay, ready for a rollback."""

    groups: Annotated[int, Field(ge=0, le=KEEP_GROUPS_MAX)] = Field(1, description="How many, newest first.")
    seconds: Duration = Field(
        as_written("24h"), alias="for", description="How long after they lost the traffic."
    )
    retain: Annotated[int, Field(ge=0, le=KEEP_GROUPS_MAX)] = Field(
        0, description="How many of them stay after that too."
    )
    size: PositiveShare = Field(
        as_written("100%"),
        description="Share of their hosts that stay; with less, a rollback launches the rest.",
    )
    give_way: bool = Field(
        False, description="They end as a release begins that has no room beside them in a region."
    )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.retain > self.groups:
            raise contradiction("retain can't be more than groups", ("groups",), ("retain",))
        return self


class NotifySection(Section):
    """Who is told of this application."""

    to: Annotated[str, Field(pattern="^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")] = Field(
        description="A target of the controller's settings: [notify.NAME]."
    )
    on: Annotated[tuple[Occasion, ...], Field(strict=False, min_length=1)] = Field(
        USUAL, description="Of what; what is not named here is not told."
    )


class Rollback(Section):
    """When a release goes back by itself, how far, and what is kept to go back to."""

    on: Annotated[tuple[Literal["health", "analysis", "deadline"], ...], Field(strict=False)] = Field(
        ("health", "analysis", "deadline"),
        description="What makes a release go back; anything else holds it in place.",
    )
    scope: Literal["region", "wave", "release"] = Field(
        "release",
        description="How far: the region that failed, its wave, or every region, also finished ones.",
    )
    failures: Annotated[int, Field(ge=0, le=REGIONS_MAX)] = Field(
        0, description="So many regions may fail, and go back, while the others go on."
    )
    keep: Keep = Field(
        default_factory=lambda: Keep.model_validate({}),
        description="How long old groups stay, ready for a rollback.",
    )
    keep_failed: Duration = Field(
        as_written("0s"),
        description="How long the hosts of a release that went back or was aborted stay to be looked at, out "
        "of traffic; 0s: they end at once.",
    )


class Guards(Section):
    """Rules that may stop a step."""

    min_capacity: Share | None = Field(
        None,
        description="Share of a region's hosts that must be able to serve; health.ready_percent if left out.",
    )
    min_hosts: Annotated[int, Field(ge=0, le=SIZE_MAX)] = Field(
        0, description="So many hosts of a region must be able to serve, whatever min_capacity says."
    )
    max_surge: Share | None = Field(
        None, description="At most so many more hosts than a region's size during a release."
    )
    approval_expires: Duration = Field(
        as_written("0s"),
        description="How long a step or a wave waits for an approval that does not say so itself, before "
        "that is a failure; 0s: for ever.",
    )
    unreachable_region: Literal["wait", "skip", "fail"] = Field(
        "fail",
        description="A region that is away when its turn comes: wait for it; skip it, and catch up when it "
        "returns; or begin, and fail at the step's deadline.",
    )

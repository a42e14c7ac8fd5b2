"""The spec of an application, as users write it in repave.yaml, and the release that it asks for.

Its sections are in sections.py. How a file becomes a Spec, and where its errors are, is loader.py's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from repave_controller.core.domain.application import Policy, ReleaseOrder, Upkeep
from repave_controller.core.domain.audience import Hearer
from repave_controller.core.domain.bounds import REGIONS_MAX, excess
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.naming import (
    PART_LENGTH_MAX,
    NamingError,
    check_part,
    format_cluster,
    name_like,
)
from repave_controller.core.domain.steps import Step
from repave_controller.core.strategies.presets import Pace, for_worker
from repave_controller.spec.analysis import AnalysisSection
from repave_controller.spec.calendar import FREEZES_MAX, WINDOWS_MAX, FreezeSection, WindowSection
from repave_controller.spec.jobs import JobsSection, compile_jobs
from repave_controller.spec.places import CONTAINER, is_remote
from repave_controller.spec.quantities import Price, fill, is_version, wrong
from repave_controller.spec.regional import check_region, overlays
from repave_controller.spec.regions import Region
from repave_controller.spec.sections import (
    Artifact,
    CommandProbe,
    Guards,
    Health,
    Host,
    Http,
    Line,
    NotifySection,
    Rollback,
    Section,
    Tcp,
    contradiction,
    name_of,
    secret_in_word,
)
from repave_controller.spec.strategy import Strategy, WaveSection, check_scopes, check_strategy, compile_waves
from repave_controller.spec.traffic import Traffic, TrafficOrNone
from repave_controller.spec.workers import check_no_port, check_served, check_steps, check_worker
from repave_protos.protocol.fronts import TrafficFront
from repave_protos.protocol.values import (
    BY_REQUEST,
    ApplicationName,
    Digest,
    HostTemplate,
    Probe,
    RegionName,
    SecretReference,
    Split,
    Timeouts,
)

FORMAT = 1
WAVES_MAX = 100
NOTIFY_MAX = 20


class OrderError(ValueError):
    """A release can't be made of this spec with these arguments. `field` is what to change."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field
        self.text = text


class Cost(Section):
    """What hosts cost."""

    per_host_hour: Price = Field(description="Of one host, for one hour.")
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = Field("EUR", description="EUR, USD, ...")


class Spec(Section):
    """Release spec of an application: the content of repave.yaml."""

    repave: int = Field(description="Format of this file: 1.", json_schema_extra={"const": FORMAT})
    app: Annotated[str, name_of("app")] = Field(description="What users call the application: a-z and 0-9.")
    stack: Annotated[str, name_of("stack")] | None = Field(
        None, description="Which of its installations, such as prod: server groups become app-stack-v001."
    )
    owner: Line | None = Field(None, description="Whom to ask about it.")
    artifact: Artifact = Field(description="What CI built.")
    host: Host = Field(description="What a fresh host is made of.")
    health: Health = Field(description="When a host may take traffic.")
    traffic: TrafficOrNone = Field(
        description="How clients reach the application; `none`: it is a worker, which takes no requests."
    )
    regions: Annotated[tuple[Region, ...], Field(strict=False, min_length=1, max_length=REGIONS_MAX)] = Field(
        description="Where it runs."
    )
    strategy: Strategy = Field(description="How a release goes from the old group to the new one.")
    analysis: AnalysisSection | None = Field(
        None, description="How new groups are compared with old ones, wherever `analyse` says so."
    )
    waves: Annotated[tuple[WaveSection, ...], Field(strict=False, max_length=WAVES_MAX)] = Field(
        (), description="The order of the regions; all together, in lock-step, if left out."
    )
    jobs: JobsSection = Field(
        default_factory=lambda: JobsSection.model_validate({}),
        description="Commands that run once in a release, before it, after it, or when it is taken back.",
    )
    cost: Cost | None = Field(None, description="What hosts cost, for the plan.")
    rollback: Rollback = Field(
        default_factory=lambda: Rollback.model_validate({}), description="When and how a release goes back."
    )
    guards: Guards = Field(
        default_factory=lambda: Guards.model_validate({}), description="Rules that may stop a step."
    )
    windows: Annotated[tuple[WindowSection, ...], Field(strict=False, max_length=WINDOWS_MAX)] = Field(
        (), description="When releases may move: in any of these times; always if left out."
    )
    freezes: Annotated[tuple[FreezeSection, ...], Field(strict=False, max_length=FREEZES_MAX)] = Field(
        (), description="When nothing is released, whatever the windows say."
    )
    notify: Annotated[tuple[NotifySection, ...], Field(strict=False, max_length=NOTIFY_MAX)] = Field(
        (), description="Who is told of what, beside what the controller's settings say."
    )

    @property
    def cluster(self) -> str:
        """`app[-stack]`: server groups are called after it."""
        return format_cluster(self.app, self.stack or "")

    @property
    def application(self) -> ApplicationName:
        """What is released, watched and rolled back by this name: each stack is one of its own."""
        return ApplicationName(self.cluster)

    @property
    def command(self) -> tuple[str, ...]:
        """What is run on a host: for an image a program that runs it, with its command if one is given."""
        return (*self.container, *(self.host.run or ()))

    @property
    def container(self) -> tuple[str, ...]:
        """The program that runs the image; nothing where there is none."""
        return (CONTAINER,) if self.artifact.oci is not None else ()

    @property
    def pace(self) -> Pace:
        """How long hosts may take."""
        return Pace(self.health.launch_deadline, self.health.min_healthy_time, self.drain_seconds)

    @property
    def is_worker(self) -> bool:
        """Whether it takes no requests."""
        return self.traffic is None

    @property
    def drain_seconds(self) -> float:
        """For the requests, or the work, that a host still has when its group leaves."""
        return self.traffic.drain if self.traffic is not None else self.host.stop_grace or 0.0

    @property
    def fronts(self) -> tuple[TrafficFront, ...]:
        """The ways in, the main one first; (): plain HTTP at the one port, or none at all."""
        return self.traffic.compiled_fronts if self.traffic is not None else ()

    def compile_steps(self, expires_seconds: float = 0.0) -> tuple[Step, ...]:
        """What a region goes through. `expires_seconds`: of approvals that do not say for how long."""
        steps = self.strategy.compile(self.pace, expires_seconds, self.analysis)
        return for_worker(self.pace, steps) if self.is_worker else steps

    @property
    def min_capacity_percent(self) -> float:
        wanted = self.guards.min_capacity
        return self.health.ready_percent if wanted is None else wanted

    @field_validator("repave")
    @classmethod
    def _is_known_format(cls, number: int) -> int:
        if number != FORMAT:
            raise wrong(f"this version of repave reads format {FORMAT}, not {number}")
        return number

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        try:
            format_cluster(self.app, self.stack or "")
        except NamingError as error:
            raise contradiction(str(error), ("app",), ("stack",)) from None
        if self.host.run is None and self.artifact.oci is None:
            raise contradiction("run is missing: the command that serves, such as ./serve", ("host",))
        names: set[str] = set()
        for index, region in enumerate(self.regions):
            if region.name in names:
                raise contradiction(f"{region.name} is there twice", ("regions", index, "name"))
            names.add(region.name)
            check_region(self.host, region, index)
            if self.is_worker and region.size.by in ("requests", "queue"):
                raise contradiction(
                    "a worker takes no requests to go by: take by: metric, such as the jobs that wait",
                    ("regions", index, "size", "by"),
                )
            if region.size.is_range and region.size.min < self.guards.min_hosts:
                raise contradiction(
                    f"guards.min_hosts keeps {self.guards.min_hosts} hosts in each region: min can't be less",
                    ("guards", "min_hosts"),
                    ("regions", index, "size"),
                )
        if fault := excess(region.size.max for region in self.regions):
            raise contradiction(fault, ("regions",))
        command = self.health.command
        for word in command.run if command is not None else ():
            if fault := secret_in_word(word, self.host.secrets):
                raise contradiction(fault, ("health", "command", "run"))
        if self.min_capacity_percent > self.health.ready_percent:
            raise contradiction(
                "guards.min_capacity can't be more than health.ready_percent: the new group would never do",
                ("health", "ready_percent"),
                ("guards", "min_capacity"),
            )
        for number, front in enumerate(self.fronts):
            if front.sends_proxy and front.to in (0, self.health.probe.port) and command is None:
                raise contradiction(
                    "hosts are asked for their health without such a header: let them answer health at "
                    "another port than traffic, which `to` names",
                    ("health",),
                    ("traffic", "fronts", number, "proxy_protocol", "send"),
                )
        for moment, index, job in self.jobs.named:
            if job.region is not None and job.region not in names:
                known = ", ".join(sorted(names))
                raise contradiction(
                    f"{job.region} is no region of this spec: {known}", ("jobs", str(moment), index, "region")
                )
            for word in (*job.run, *job.env.values()):
                if fault := secret_in_word(word, self.host.secrets):
                    raise contradiction(fault, ("jobs", str(moment), index, "run"))
        if self.is_worker:
            check_worker(self.health, self.strategy, self.rollback)
            check_no_port(self.health, self.host, self.jobs)
        else:
            check_served(self.health, self.host)
        surge, general = self.guards.max_surge, self.analysis
        check_strategy(self.strategy, self.pace, _policy(self), self.regions, surge, general)
        waves = compile_waves(self.waves, self.regions)
        steps = self.compile_steps()
        if self.is_worker:
            check_steps(steps, self.strategy, self.analysis)
        check_scopes(steps, waves)
        return self


# ----------------------------------------------------------------------------------------------- compile


def compile_order(
    spec: Spec, digest: Digest, version: str, by: str = "", reason: str = "", key: str = ""
) -> ReleaseOrder:
    """The release that `spec` asks for with this package. Raises OrderError."""
    _check_version(version)
    wanted = spec.artifact.sha256
    if wanted not in (None, "required", digest):
        raise OrderError("artifact.sha256", f"the spec wants the package {wanted}, this one is {digest}")
    template = _template(spec, version)
    waves = compile_waves(spec.waves, spec.regions, spec.guards.approval_expires)
    return ReleaseOrder(
        version=version,
        digest=digest,
        frontend_port=spec.traffic.main_port if spec.traffic is not None else 0,
        sizes=tuple((RegionName(region.name), region.hosts) for region in spec.regions),
        template=template,
        overlays=ByRegion(
            (RegionName(name), overlay)
            for name, overlay in overlays(spec.host, template, spec.regions, version, spec.app)
        ),
        steps=spec.compile_steps(spec.guards.approval_expires),
        waves=waves,
        strategy=spec.strategy.name,
        prices=_prices(spec),
        currency=spec.cost.currency if spec.cost is not None else "",
        policy=_policy(spec),
        upkeep=Upkeep(
            max_age_seconds=spec.host.max_age or 0.0,
            drift=spec.host.drift,
            renew_percent=spec.host.renew_at_once,
        ),
        by=by,
        reason=reason,
        key=key,
        split=_split(spec.traffic) if spec.traffic is not None else BY_REQUEST,
        jobs=compile_jobs(
            spec.jobs, first_region(spec), lambda text: fill(text, version, spec.app), spec.container
        ),
    )


def first_region(spec: Spec) -> str:
    """Where jobs run that say nothing: the first region of the first wave."""
    waves = compile_waves(spec.waves, spec.regions)
    return waves[0].regions[0] if waves else spec.regions[0].name


def _policy(spec: Spec) -> Policy:
    return Policy(
        keep_seconds=spec.rollback.keep.seconds,
        # An old group of a worker that was kept would go on working.
        keep_groups=0 if spec.is_worker else spec.rollback.keep.groups,
        retain=spec.rollback.keep.retain,
        keep_percent=spec.rollback.keep.size,
        gives_way=spec.rollback.keep.give_way,
        keep_failed_seconds=spec.rollback.keep_failed,
        ready_percent=spec.health.ready_percent,
        min_capacity_percent=spec.min_capacity_percent,
        min_hosts=spec.guards.min_hosts,
        heal_seconds=spec.health.heal_seconds,
        heal_capacity_percent=spec.guards.min_capacity or 0.0,
        goes_back_on=tuple(sorted(set(spec.rollback.on))),
        scope=spec.rollback.scope,
        failures_max=spec.rollback.failures,
        unreachable=spec.guards.unreachable_region,
        protects=spec.traffic is not None and spec.traffic.protect,
        windows=tuple(each.window for each in spec.windows),
        freezes=tuple(each.freeze for each in spec.freezes),
        notify=tuple(Hearer(each.to, each.on) for each in spec.notify),
        scaling=ByRegion(scaling for region in spec.regions if (scaling := region.scaling) is not None),
    )


def _template(spec: Spec, version: str) -> HostTemplate:
    return HostTemplate(
        run=tuple(fill(word, version, spec.app) for word in spec.command),
        environment=tuple(
            (name, fill(value, version, spec.app)) for name, value in sorted(spec.host.env.items())
        ),
        probe=_probe(spec, version),
        min_healthy_seconds=spec.health.min_healthy_time,
        launch_deadline_seconds=spec.health.launch_deadline,
        drain_seconds=spec.drain_seconds,
        machine_image=fill(spec.host.machine_image, version, spec.app),
        timeouts=_timeouts(spec.traffic) if spec.traffic is not None else Timeouts(),
        launch_failures=spec.health.launch_failures,
        secrets=tuple(_secrets(spec, version)),
        machine_sizes=spec.host.size or (),
        is_spot=spec.host.spot,
        health_by=spec.health.by,
        fronts=spec.fronts,
        is_worker=spec.is_worker,
    )


def _secrets(spec: Spec, version: str) -> Iterator[SecretReference]:
    """`{region}` stays: each agent puts its own in."""
    for name, secret in sorted(spec.host.secrets.items()):
        source, where = secret.place
        yield SecretReference(name, source, fill(where, version, spec.app), as_file=secret.form == "file")


def _prices(spec: Spec) -> ByRegion[tuple[RegionName, float]]:
    """What a host costs an hour, where it is known."""
    general = spec.cost.per_host_hour if spec.cost is not None else None
    priced = (
        (region.name, general if region.cost_per_hour is None else region.cost_per_hour)
        for region in spec.regions
    )
    return ByRegion((RegionName(name), price) for name, price in priced if price is not None)


def artifact_path(spec: Spec, version: str) -> str:
    """Where the package of this version is, as written: relative to the folder of the spec."""
    _check_version(version)
    return fill(spec.artifact.address, version, spec.app)


@dataclass(frozen=True, slots=True)
class RemoteArtifact:
    """A package that the controller fetches. `signature`: where that is, if the spec says so."""

    uri: str
    digest: str = ""
    signature: str = ""


def remote_artifact(spec: Spec, version: str, digest: str = "") -> RemoteArtifact:
    """What the spec names by https:// or s3:// for this version. Raises OrderError."""
    address = spec.artifact.address
    if not is_remote(address):
        raise OrderError("artifact.uri", f"{address} is a path, and the controller fetches addresses")
    uri, signature = artifact_path(spec, version or "0"), signature_path(spec, version or "0")
    if "{version}" in address and not version:
        raise OrderError("version", f"artifact.uri is {address}: say which version")
    if set(version) <= {"."} and version:
        raise OrderError("version", f"{version} can't be part of an address")
    wanted = spec.artifact.sha256
    if wanted == "required" and not digest:
        raise OrderError("artifact.sha256", "this spec wants the package's digest to be named")
    if wanted not in (None, "required") and digest not in ("", wanted):
        raise OrderError(
            "artifact.sha256", f"the spec wants the package {wanted}, and {digest} was asked for"
        )
    return RemoteArtifact(uri, digest or (wanted if wanted not in (None, "required") else ""), signature)


def signature_path(spec: Spec, version: str) -> str:
    """Where its signature is; "": the spec does not say."""
    _check_version(version)
    return fill(spec.artifact.signature or "", version, spec.app)


def _check_version(version: str) -> None:
    if not is_version(version):
        raise OrderError("version", f"{version!a} is no version: letters, digits and . _ + -, at most 64")


def _probe(spec: Spec, version: str) -> Probe:
    health, chosen = spec.health, spec.health.probe
    base = Probe(
        kind="tcp",
        port=chosen.port or 0,
        interval_seconds=health.interval,
        timeout_seconds=health.timeout_seconds,
        healthy_after=health.healthy_after,
        unhealthy_after=health.unhealthy_after,
    )
    match chosen:
        case Http():
            return replace(
                base,
                kind="http",
                path=chosen.path,
                expect_status=chosen.expect,
                host=chosen.host or "",
                headers=tuple(chosen.headers.items()),
            )
        case CommandProbe():
            command = tuple(fill(word, version, spec.app) for word in chosen.run)
            return replace(base, kind="command", command=command)
        case Tcp():
            return base


def _timeouts(traffic: Traffic) -> Timeouts:
    chosen = traffic.timeouts
    return Timeouts(chosen.client, chosen.server, chosen.tunnel) if chosen is not None else Timeouts()


def _split(traffic: Traffic) -> Split:
    testers = traffic.testers
    return Split(
        by=traffic.split,
        name=traffic.cookie or traffic.header or "",
        tester_by=testers.by if testers else "",
        tester_name=testers.name if testers else "",
        tester_value=testers.value if testers else "",
    )


def app_for(folder: str) -> str:
    """What the application in a folder of this name may be called."""
    try:
        return check_part("app", name_like(folder)[:PART_LENGTH_MAX].rstrip("-"))
    except NamingError:
        return "app"

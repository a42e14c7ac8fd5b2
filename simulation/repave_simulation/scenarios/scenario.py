"""What one run is made of: a small fleet, what people ask of it, and everything that shall go wrong. Drawn
from a seed, in swarms: each seed has its own mixture of faults, and some have none at all."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from repave_controller.core.commands.adoption import Fleet
from repave_controller.core.commands.lifecycle import Delete, RetireGroup
from repave_controller.core.commands.release import WhileBusy
from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.steering import Abort, Pause
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.application import Policy, ReleaseOrder, Upkeep
from repave_controller.core.domain.rollout import Step
from repave_controller.core.steps import Scale, Soak, Verify, Weight
from repave_protos.protocol.values import (
    BY_REQUEST,
    ApplicationName,
    Digest,
    GivenHost,
    HostTemplate,
    Probe,
    RegionName,
    Split,
)
from repave_simulation.kernel.chance import Chance
from repave_simulation.scenarios.load import scaling_of
from repave_simulation.scenarios.variety import (
    analysed,
    at_work,
    fronted,
    judged,
    met_by,
    steered,
    varied,
    with_jobs,
)

APPLICATIONS = (ApplicationName("shop"), ApplicationName("till"))
REGIONS = (RegionName("paris"), RegionName("oslo"), RegionName("rome"))
DESK = ApplicationName("desk")
"""Its fleet was there before, in the seeds that adopt one."""
ADOPTING = 0.2
MILL = ApplicationName("mill")
"""A worker, which takes no requests, in the seeds that have one."""
WORKING = 0.15
MILL_IMAGES = range(101, 106)
SCALED = 0.2
"""Of the applications: those whose numbers of hosts follow their load."""
OURS = "ours"
"""The tag of hosts that belong to the simulated installation and region."""
TESTERS = Split(tester_by="header", tester_name="x-tester", tester_value="yes")
OLD_FLEET = "those who ran the fleet before"
"""The tag of hosts that are adopted."""
UNFAIR_SECONDS_MAX = 400.0
JUDGED_MAX = 2
JUDGED = 0.8
"""Share of the seeds with releases that are judged."""
IMAGES = 23 + JUDGED_MAX
"""The last ones are those of releases that are judged."""
BLIND_SECONDS = 15.0
"""Longer than any probe needs to find a host ill, by its thresholds, and the agent to look at it."""

CommandKind = Literal[
    "release", "queue", "latest", "replace", "rollback", "abort", "steer", "push", "wrong", "adopt"
]
Trouble = Literal["fail", "slow", "ambiguous", "crash", "pause", "network", "source", "lies"]

RATES: dict[Trouble, tuple[float, ...]] = {
    "fail": (0.02, 0.1, 0.3),
    "slow": (0.02, 0.1, 0.3),
    "ambiguous": (0.03, 0.15, 0.4),
    "crash": (0.004, 0.015, 0.05),
    "pause": (0.004, 0.015, 0.05),
    "network": (0.01, 0.05, 0.2),
    "source": (0.05, 0.2, 0.5),
    "lies": (0.1, 0.5),
}
RELEASES: tuple[CommandKind, ...] = ("release", "queue", "latest", "replace")
"""Commands with an order."""
STEPS = ("scale", "verify", "weight", "soak", "undoing", "at rest")
"""Where a release may be when something strikes; "at rest" is between two releases."""
STRIKES = (
    "host-dies",
    "host-falls-ill",
    "host-hangs",
    "host-recovers",
    "host-lies",
    "rack-dies",
    "rack-dies-unheard",
    "everybody-looks-ill",
    "balancer-dies",
    "balancer-forgets",
    "workers-disagree",
    "region-cut",
    "controller-killed",
    "agent-killed",
    "controller-frozen",
    "agent-frozen",
    "agent-loses-power",
    "agent-loses-journal",
    "clock-set-back",
    "store-full",
    "journal-full",
    "provider-down",
    "listing-lags",
    "old-message",
)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What hosts made from an image do: "serves", "never-healthy", "exits" or "falls-ill" (that long after
    they began to serve)."""

    kind: str = "serves"
    boot_seconds: float = 1.0
    after_seconds: float = 0.0
    is_worse: bool = False  # its hosts are healthy, and many of their answers are errors

    @property
    def is_good(self) -> bool:
        return self.kind == "serves"


@dataclass(frozen=True, slots=True)
class Command:
    """What a person asks at an instant, or `at` seconds after some release has come to `step`. `key` is its
    idempotency key; two with one key are one."""

    at: float
    kind: CommandKind
    application: ApplicationName
    key: str
    order: ReleaseOrder | None = None
    verb: Verb | None = None  # what a command to a rollout asks of it
    wrong: str = ""  # what is wrong with it, when it is to be refused
    step: str = ""
    serves: bool = False  # of an adoption: at once

    @property
    def busy(self) -> WhileBusy:
        """What becomes of a release that is asked for while a rollout runs."""
        return WhileBusy(self.kind == "queue", self.kind == "latest", self.kind == "replace")

    def __str__(self) -> str:
        what = f" of image {int(self.order.digest, 16)}" if self.order else ""
        what += f" ({self.verb})" if self.verb else ""
        more = "".join(f", {each}" for each in (self.wrong, self.step and f"in {self.step}") if each)
        return f"{self.kind}{what} {self.application} ({self.key}{more})"


@dataclass(frozen=True, slots=True)
class Strike:
    """One thing that goes wrong at an instant, or `at` seconds after some release has come to `step`; for
    `seconds` where it lasts."""

    number: int
    at: float
    kind: str
    region: RegionName
    seconds: float = 0.0
    step: str = ""
    digest: Digest | None = None  # strikes only hosts made from it

    def __str__(self) -> str:
        when = f"{self.at:.1f} s into {self.step}" if self.step else f"at {self.at:.1f}"
        return f"{self.kind} {self.region} {when} for {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that decides a run. With `fates`, exactly these effects go wrong (by their key), else each
    goes wrong by `rates`."""

    seed: int
    regions: tuple[RegionName, ...]
    images: dict[Digest, Behaviour]
    commands: tuple[Command, ...]
    strikes: tuple[Strike, ...] = ()
    rates: dict[Trouble, float] = field(default_factory=dict)
    fates: dict[str, str] | None = None
    unfair_seconds: float = UNFAIR_SECONDS_MAX
    converge_seconds: float = 900.0
    blind_seconds: float = BLIND_SECONDS
    rates_from: float = 0.0  # an instant: before it nothing goes wrong by rates
    fleet: Fleet = ()  # of the application that is adopted
    is_doubtful: bool = False  # releases may fail though nothing goes wrong: the settings may be bad

    @property
    def is_calm(self) -> bool:
        return not (self.strikes or self.rates or self.fates or self.is_doubtful)


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance = Chance(f"{seed}/scenario")
    regions = REGIONS[: chance.number(1, 3, "regions")]
    applications = APPLICATIONS[: 1 + chance.happens(0.3, "applications")]
    images = {_digest(number): _behaviour(chance, number) for number in range(1, IMAGES + 1)}
    commands, last = _commands(chance, regions, applications, images)
    commands += _meeting(chance, commands, regions)
    commands += tuple(_ending(chance, applications, last))
    judged_ones = tuple(_judged(chance, regions, applications, last))
    commands += judged_ones
    fleet = _fleet(chance, regions)
    commands += tuple(_adoption(chance, regions, last)) if fleet else ()
    if works := tuple(_works(chance, regions, last)):
        commands += works
        images |= {_digest(number): _behaviour_at_work(chance, number) for number in MILL_IMAGES}
    sources: dict[Trouble, float] = {}
    if judged_ones and chance.happens(0.7, "bad source"):
        sources = {"source": chance.one_of((0.1, 0.4, 0.7), "bad source", "rate")}
    end = last + chance.between(40.0, 120.0, "end")
    if chance.happens(0.12, "calm"):
        return Scenario(seed, regions, images, commands, unfair_seconds=end, fleet=fleet)
    away = tuple(_absences(chance, commands))
    if chance.happens(0.3, "mild"):  # so that releases get far, and people meet them there
        return Scenario(seed, regions, images, commands, _numbered(away), sources, None, end, fleet=fleet)
    moments = (*_last_moments(chance, commands), *_in_jobs(chance, commands))
    strikes = _numbered((*_strikes(chance, regions, end), *away, *moments))
    rates = {**_rates(chance), **sources}
    return Scenario(seed, regions, images, commands, strikes, rates, None, end, fleet=fleet)


def _digest(number: int) -> Digest:
    return Digest(f"{number:064x}")


def _behaviour(chance: Chance, number: int) -> Behaviour:
    boot = chance.one_of((0.2, 1.0, 4.0), "boot", number)
    is_judged = number > IMAGES - JUDGED_MAX
    if number == 1 or is_judged or chance.happens(0.7, "good", number):
        is_worse = number > 1 and chance.happens(0.5 if is_judged else 0.2, "worse", number)
        return Behaviour("serves", boot, is_worse=is_worse)
    return _bad(chance, number, boot)


def _bad(chance: Chance, number: int, boot: float) -> Behaviour:
    kind = chance.one_of(("never-healthy", "exits", "falls-ill"), "bad", number)
    return Behaviour(kind, boot, chance.between(0.5, 15.0, "after", number))


def _behaviour_at_work(chance: Chance, number: int) -> Behaviour:
    boot = chance.one_of((0.2, 1.0, 4.0), "boot", number)
    is_good = number == MILL_IMAGES[0] or chance.happens(0.7, "good", number)
    return Behaviour("serves", boot) if is_good else _bad(chance, number, boot)


# --------------------------------------------------------------------------------------------- commands


def _commands(
    chance: Chance,
    regions: tuple[RegionName, ...],
    applications: tuple[ApplicationName, ...],
    images: dict[Digest, Behaviour],
) -> tuple[tuple[Command, ...], float]:
    """The first release of each application, then people who do not wait for each other; and when the last
    of them has asked."""
    commands, at, image = [], 1.0, 0
    for application in applications:
        image += 1
        commands.append(_release(chance, "release", application, image, at, regions, is_first=True))
        at += chance.one_of((0.0, 3.0, 30.0), "begin", application)
    at += chance.one_of((2.0, 30.0), "settled")
    for number in range(chance.number(3, 8, "commands")):
        name = ("command", number)
        application = chance.one_of(applications, *name, "application")
        kinds: tuple[CommandKind, ...] = (
            "release", "release", "release", "queue", "rollback", "rollback", "abort", "steer", "steer",
            "push", "wrong",
        )  # fmt: skip
        kind = chance.one_of(kinds, *name)
        key = f"key-{number}"
        if kind in ("release", "queue") and chance.happens(0.35, *name, "busy"):
            kind = chance.one_of(("latest", "replace"), *name, "while busy")
        if kind in RELEASES:
            image = min(image + 1, len(images) - JUDGED_MAX)
            is_first = is_first_release(commands, application)
            command = _release(
                chance, kind, application, image, at, regions, is_first=is_first, number=number
            )
            command = _with_jobs(chance, command, images)
        elif kind == "steer":
            command = Command(at, kind, application, key, verb=steered(chance, name, regions))
        elif kind == "wrong":
            command = _wrong(chance, application, at, regions, number)
        else:
            command = Command(at, kind, application, key)
        if chance.happens(0.5, *name, "meets a step"):
            delay = chance.one_of((0.0, 0.01, 0.5, 3.0), *name, "delay")
            is_late = kind in ("release", "rollback")
            steps = (*STEPS, *("at rest" for _ in STEPS)) if is_late else STEPS
            command = replace(command, at=delay, step=chance.one_of(steps, *name, "step"))
        commands.append(command)
        if chance.happens(0.15, *name, "repeated"):
            commands.append(replace(command, at=command.at + chance.one_of((0.0, 0.5, 20.0), *name, "again")))
        at += chance.one_of((0.0, 0.05, 0.5, 2.0, 6.0, 15.0, 40.0), *name, "pause")
    return tuple(sorted(commands, key=lambda each: each.at)), at


def _with_jobs(chance: Chance, command: Command, images: dict[Digest, Behaviour]) -> Command:
    order = command.order
    assert order is not None, "it is a release"
    made, names = images[order.digest], (command.application, command.key)
    is_good = made.is_good and not made.is_worse
    return replace(command, order=with_jobs(chance, names, order, is_good=is_good))


def _meeting(
    chance: Chance, commands: tuple[Command, ...], regions: tuple[RegionName, ...]
) -> tuple[Command, ...]:
    """What people ask of releases that are more than blue/green while these are in some step."""
    met = []
    for command in commands:
        names = ("meeting", command.application, command.key)
        if command.order is None or not command.order.waves or not chance.happens(0.6, *names):
            continue
        verb, step = met_by(chance, names, regions)
        delay = chance.one_of((0.0, 0.01, 0.5, 3.0), *names, "delay")
        key = f"{command.key}-met"
        met.append(Command(delay, "steer", command.application, key, verb=verb, step=step))
    return tuple(met)


def _ending(chance: Chance, applications: tuple[ApplicationName, ...], last: float) -> Iterator[Command]:
    """People who end old groups, also failed ones that are looked at, and whole applications."""
    for application in applications:
        for number in range(2):
            names = ("ending", application, number)
            if not chance.happens(0.3, *names):
                continue
            verb = RetireGroup(chance.one_of(("1", "2", "3", "4"), *names, "version"))
            step = chance.one_of(("at rest", "scale", "soak"), *names, "step")
            delay, key = chance.one_of((0.5, 5.0), *names, "delay"), f"retires-{number}-{application}"
            yield Command(delay, "steer", application, key, verb=verb, step=step)
        if chance.happens(0.15, "deletion", application):
            at = max(2.0, last + chance.one_of((-30.0, 1.0, 20.0), "deletion", application, "at"))
            yield Command(at, "steer", application, f"deletes-{application}", verb=Delete())


def _judged(
    chance: Chance, regions: tuple[RegionName, ...], applications: tuple[ApplicationName, ...], last: float
) -> Iterator[Command]:
    """Releases that are compared with what serves, after all others."""
    for number in range(JUDGED_MAX if chance.happens(JUDGED, "is judged") else 0):
        at = last + (number + 1) * chance.one_of((2.0, 15.0), "judged", number, "at")
        application, image = chance.one_of(applications, "judged", number), IMAGES - JUDGED_MAX + 1 + number
        command = _release(
            chance, "latest", application, image, at, regions, is_first=False, number=100 + number
        )
        assert command.order is not None, "it is a release"
        yield replace(command, order=judged(chance, (application, image), command.order))


def _fleet(chance: Chance, regions: tuple[RegionName, ...]) -> Fleet:
    """Hosts that were there before; of most seeds none."""
    if not chance.happens(ADOPTING, "adopts"):
        return ()
    sizes = {region: chance.number(1, 4, "fleet", region) for region in sorted(regions)}
    return tuple(
        (region, tuple(GivenHost(f"10.8.0.{number}", 8080) for number in range(1, size + 1)))
        for region, size in sizes.items()
    )


def _adoption(chance: Chance, regions: tuple[RegionName, ...], last: float) -> Iterator[Command]:
    """The fleet is adopted, released from, and gone back to, whatever else happens."""
    whole = _release(chance, "adopt", DESK, 1, 4.0, regions, is_first=True)
    yield replace(whole, key=f"adopts-{DESK}", serves=chance.happens(0.5, "adopts", "serves"))
    at = 6.0
    for number in range(chance.number(1, 3, "adopts", "releases")):
        at += chance.one_of((1.0, 15.0, 40.0), "adopts", number, "pause")
        image = chance.number(1, IMAGES - JUDGED_MAX, "adopts", number, "image")
        yield _release(
            chance, "latest", DESK, image, min(at, last), regions, is_first=False, number=200 + number
        )
        if chance.happens(0.5, "adopts", number, "goes back"):
            verb = Rollback(to="adopted") if chance.happens(0.5, "adopts", number, "to") else Rollback()
            yield Command(at + 20.0, "steer", DESK, f"desk-back-{number}", verb=verb)


def _works(chance: Chance, regions: tuple[RegionName, ...], last: float) -> Iterator[Command]:
    """A worker is released, again and again, and gone back with, whatever else happens."""
    if not chance.happens(WORKING, "works"):
        return
    at = 2.0
    for number, image in enumerate(MILL_IMAGES[: chance.number(2, 5, "works", "releases")]):
        command = _release(
            chance, "latest", MILL, image, min(at, last), regions, is_first=True, number=300 + number
        )
        assert command.order is not None, "it is a release"
        yield replace(command, order=at_work(chance, (MILL, image), command.order))
        if number and chance.happens(0.4, "works", number, "goes back"):
            verbs: tuple[Verb, ...] = (Rollback(), Rollback(), Abort(), Pause())
            verb = chance.one_of(verbs, "works", number, "verb")
            delay = chance.one_of((0.5, 6.0, 25.0), "works", number, "delay")
            yield Command(at + delay, "steer", MILL, f"mill-back-{number}", verb=verb)
        at += chance.one_of((1.0, 15.0, 40.0), "works", number, "pause")


def is_first_release(commands: list[Command], application: ApplicationName) -> bool:
    """Whether only the first release was asked for: a canary has no group to share with yet."""
    return sum(each.application == application for each in commands) < 2


def _release(
    chance: Chance,
    kind: CommandKind,
    application: ApplicationName,
    image: int,
    at: float,
    regions: tuple[RegionName, ...],
    *,
    is_first: bool,
    number: int = -1,
) -> Command:
    names = (application, image)
    key = f"key-{number}" if number >= 0 else f"first-{application}"
    size = chance.number(1, 4, *names, "size")
    is_canary = not is_first and chance.happens(0.3, *names, "canary")
    is_tested = chance.happens(0.4, "testing")  # one answer for a whole seed
    steps = _steps(chance, names, is_canary=is_canary, is_tested=is_tested)
    order = ReleaseOrder(
        version=str(image),
        digest=_digest(image),
        frontend_port=_port(application),
        sizes=tuple((region, size) for region in sorted(regions)),
        template=HostTemplate(
            run=("./serve",),
            environment=(),
            probe=Probe(
                "command",
                8080,
                command=("healthy",),
                interval_seconds=chance.one_of((0.5, 2.0), *names, "interval"),
                healthy_after=chance.number(1, 2, *names, "healthy"),
                unhealthy_after=chance.number(1, 3, *names, "unhealthy"),
            ),
            min_healthy_seconds=chance.one_of((0.5, 3.0), *names, "min"),
            launch_deadline_seconds=chance.one_of((15.0, 30.0), *names, "start"),
            drain_seconds=chance.one_of((2.0, 8.0), *names, "drain"),
            fronts=fronted(chance, names, _port(application)),
        ),
        steps=steps,
        split=TESTERS if is_tested else BY_REQUEST,
        policy=Policy(
            keep_seconds=chance.one_of((5.0, 20.0, 60.0), *names, "keep"),
            keep_groups=chance.number(1, 2, *names, "groups"),
            retain=chance.number(0, 1, *names, "retain"),
            keep_failed_seconds=chance.one_of((0.0, 0.0, 5.0, 40.0), *names, "keep failed"),
        ),
        upkeep=Upkeep(
            max_age_seconds=chance.one_of((0.0, 0.0, 60.0, 120.0), *names, "age"),
            renew_percent=chance.one_of((10.0, 50.0, 100.0), *names, "renew"),
        ),
        by=key,
        key=key,
    )
    order = analysed(chance, names, varied(chance, names, order))
    if chance.happens(SCALED, "scaled", application):
        order = replace(order, policy=replace(order.policy, scaling=scaling_of(order)))
    return Command(at, kind, application, key, order)


def _port(application: ApplicationName) -> int:
    return 8000 + (*APPLICATIONS, DESK, MILL).index(application)


def _steps(
    chance: Chance, names: tuple[object, ...], *, is_canary: bool, is_tested: bool
) -> tuple[Step, ...]:
    deadline = chance.one_of((20.0, 60.0), *names, "deadline")
    soak = Soak(chance.one_of((1.0, 10.0), *names, "soak"), deadline)
    canary = (Weight(2_500, deadline), soak) if is_canary else ()
    testers = (soak,) if is_tested and chance.happens(0.5, *names, "testers first") else ()
    return (Scale(100, deadline), Verify(deadline), *testers, *canary, Weight(10_000, deadline), soak)


def _wrong(
    chance: Chance, application: ApplicationName, at: float, regions: tuple[RegionName, ...], number: int
) -> Command:
    """Asks for what can't be; it must be refused and change nothing."""
    key = f"key-{number}"
    whole = _release(chance, "release", application, 1, at, regions, is_first=True, number=number)
    assert whole.order is not None
    what = chance.one_of(("image", "region", "application"), "wrong", number)
    if what == "image":
        order = replace(whole.order, digest=_digest(999))
    elif what == "region":
        order = replace(whole.order, sizes=((RegionName("atlantis"), 2),))
    else:
        return Command(at, "rollback", ApplicationName("nothing"), key, wrong="no such application")
    return Command(at, "release", application, key, order, wrong=f"no such {what}")


# ----------------------------------------------------------------------------------------------- troubles


def _rates(chance: Chance) -> dict[Trouble, float]:
    return {
        trouble: chance.one_of(rates, "rate", trouble)
        for trouble, rates in RATES.items()
        if chance.happens(0.35, "swarm", trouble)
    }


def _strikes(chance: Chance, regions: tuple[RegionName, ...], end: float) -> tuple[Strike, ...]:
    strikes: list[Strike] = []
    for kind in STRIKES:
        if not chance.happens(0.2, "swarm", kind):
            continue
        for number in range(chance.number(1, 4, "strikes", kind)):
            name = (kind, number)
            at = chance.between(1.0, end, *name, "at")
            seconds = chance.one_of((0.2, 2.0, 8.0, 35.0, 90.0), *name, "seconds")
            step = chance.one_of(STEPS, *name, "step") if chance.happens(0.6, *name, "meets") else ""
            if step:
                at = chance.one_of((0.0, 0.02, 0.5, 3.0), *name, "delay")
            strikes.append(Strike(0, at, kind, chance.one_of(regions, *name, "region"), seconds, step))
    strikes.sort(key=lambda each: each.at)
    return tuple(strikes)


def _absences(chance: Chance, commands: tuple[Command, ...]) -> Iterator[Strike]:
    """Regions that are away when a release begins that leaves out who is, or waits for them."""
    for command in commands:
        names = ("absence", command.application, command.key)
        if command.order is None or command.order.policy.unreachable == "fail" or command.wrong:
            continue
        if command.key.startswith("first-"):  # a region that was never there is not known
            continue
        if chance.happens(0.5, *names):
            region = chance.one_of([region for region, _ in command.order.sizes], *names, "region")
            at, seconds = max(0.0, command.at - 1.0), chance.one_of((75.0, 110.0), *names, "seconds")
            yield Strike(0, at, "agent-killed", region, seconds, command.step)


def _last_moments(chance: Chance, commands: tuple[Command, ...]) -> Iterator[Strike]:
    """New hosts that end after they were verified, in a region that hears of its new traffic only then."""
    for command in commands:
        names = ("last moment", command.application, command.key)
        if command.order is None or command.wrong or not chance.happens(0.25, *names):
            continue
        region = chance.one_of([region for region, _ in command.order.sizes], *names, "region")
        yield Strike(0, 0.0, "rack-dies-unheard", region, 8.0, step="weight")


def _in_jobs(chance: Chance, commands: tuple[Command, ...]) -> Iterator[Strike]:
    """What dies while a job before a release runs."""
    for command in commands:
        names, order = ("in job", command.application, command.key), command.order
        if order is None or not order.jobs.before or command.wrong or not chance.happens(0.6, *names):
            continue
        region = order.waves[0].regions[0] if order.waves else order.sizes[0][0]
        kinds = ("controller-killed", "agent-killed", "agent-loses-journal", "agent-loses-power", "host-dies")
        delay = chance.one_of((0.3, 1.0, 3.0, 9.0), *names, "delay")
        yield Strike(0, command.at + delay, chance.one_of(kinds, *names, "kind"), region, 0.0, command.step)


def _numbered(strikes: tuple[Strike, ...]) -> tuple[Strike, ...]:
    return tuple(replace(each, number=number) for number, each in enumerate(strikes))

"""The people who give commands: they repeat them until they are answered, and remember the answer."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from repave_controller.core.commands.jobs import SettleJob
from repave_controller.core.commands.lifecycle import Delete, RetireGroup
from repave_controller.core.commands.promotion import Promote
from repave_controller.core.commands.queue import QueueResume
from repave_controller.core.commands.release import Accepted
from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.steering import Pause, Resize, Resume, Retry
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.application import Application, Instant
from repave_controller.core.domain.jobs import Moment, RunState, Settlement
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.domain.rollout import Phase, Rollout
from repave_controller.core.rollout.gates import approvals
from repave_controller.wording.render import text_of
from repave_simulation.checks.course import is_by_people
from repave_simulation.checks.plans import Plans
from repave_simulation.scenarios.scenario import Command
from repave_simulation.world.world import World

PATIENCE_SECONDS = 25.0
PAUSE_SECONDS = 2.0
TEND_SECONDS = 20.0
TENDED_SHARE = 0.4
PAUSES_SECONDS = (4.0, 45.0, 90.0)
"""For how long people pause a rollout; the longer ones are longer than the deadlines of its steps."""
LATER = Instant(1e12)
"""By then every bake time is over: a person who asks too early is refused, and asks again."""

Answer = Accepted | Refused | None
"""None: no answer, so that what became of the command is unknown."""
Ask = Callable[[Command, Callable[[Answer], None]], None]


def _job_of(rollout: Rollout) -> tuple[str, tuple[Settlement, ...]] | None:
    """A job that waits for a person, and what may be said of it."""
    for moment, job in rollout.jobs.named:
        run = rollout.last_run(moment, job.name)
        if run is None or run.settled or run.is_done:
            continue
        if run.state is RunState.UNKNOWN:
            return job.name, ("again", "done", "failed")
        if run.has_failed and run.attempt > job.retries and moment is not Moment.BEFORE:
            return job.name, ("again", "done")
    return None


@dataclass(slots=True)
class People:
    """All commands of a run. `ask` carries one to the controller."""

    world: World
    plans: Plans
    ask: Ask
    acknowledged: dict[str, Accepted] = field(default_factory=dict)  # by application, kind and key
    waiting: int = 0
    tended: int = 0

    def begin(self) -> None:
        for command in self.world.scenario.commands:
            self.world.when(command.step, command.at, lambda command=command: self._begin(command))  # type: ignore[misc]
        self.world.later(TEND_SECONDS, self._look_around)

    def _begin(self, command: Command) -> None:
        self.waiting += 1
        self._attempt(command, 1)

    def _attempt(self, command: Command, count: int) -> None:
        if command.kind == "push":
            self.world.stored.update(digest for digest in self.world.scenario.images)
            self.waiting -= 1
            return
        self.world.tell("people", f"ask for {command}" + (f", for the {count}. time" if count > 1 else ""))
        answered = [False]

        def done(answer: Answer) -> None:
            if answered[0]:
                return
            answered[0] = True
            if answer is None:
                self.world.later(PAUSE_SECONDS, lambda: self._attempt(command, count + 1))
            else:
                self.waiting -= 1
                self._take(command, answer)

        self.world.later(PATIENCE_SECONDS, lambda: done(None))
        self.ask(command, done)

    def _take(self, command: Command, answer: Accepted | Refused) -> None:
        name = f"{command.application}/{command.kind}/{command.key}"
        if isinstance(answer, Refused):
            self.world.story.reached[f"refused: {answer.rule}"] += 1
            self.world.tell("people", f"{command.key} is refused: {answer.rule}")
            if name in self.acknowledged:
                why = text_of(answer.reason)
                self.world.broken(6, f"{command} was accepted, and repeated it is refused: {why}")
            return
        self.world.tell("people", f"{command.key} is accepted: {answer.group} rollout {answer.rollout}")
        if command.wrong:
            self.world.broken(10, f"{command} is accepted")
        known = self.acknowledged.setdefault(name, answer)
        if (known.group, known.rollout) != (answer.group, answer.rollout):
            self.world.broken(6, f"{command} has two effects: {known.group} and {answer.group}")
        self._check_saved(command, answer)
        if isinstance(command.verb, Pause):
            seconds = self.world.chance.one_of(PAUSES_SECONDS, "resume", command.key)
            again = replace(command, key=f"{command.key}-resumed", verb=Resume())
            self.world.later(seconds, lambda: self._begin(again))

    def _check_saved(self, command: Command, answer: Accepted) -> None:
        ledger = self.world.ledger
        if answer.is_queued or isinstance(command.verb, Delete | RetireGroup):
            return
        if (answer.application, answer.rollout) not in ledger.rollouts:
            self.world.broken(6, f"{command} is acknowledged, and rollout {answer.rollout} is not saved")
        for region, size in command.verb.sizes if isinstance(command.verb, Resize) else ():
            if not self.plans.has_had(command.application, region, size):
                self.world.broken(6, f"{command} is acknowledged, and the size is not saved")

    # ------------------------------------------------------------------------------------ afterwards

    def _look_around(self) -> None:
        """While things go wrong they see only some of what waits for them."""
        if not self.world.is_fair:
            self._tend(TENDED_SHARE)
            self.world.later(TEND_SECONDS, self._look_around)

    def tend(self) -> None:
        """When nothing goes wrong any more they look after what waits for them, until nothing does."""
        self._tend(1.0)
        self.world.later(TEND_SECONDS, self.tend)

    def _tend(self, share: float) -> None:
        for application in self.world.ledger.applications.values():
            is_seen = self.world.chance.happens(share, "seen", application.name, self.world.now)
            verb = self._for(application) if is_seen else None
            if verb is not None:
                self.tended += 1
                key = f"tend-{self.tended}"
                self._begin(Command(0.0, "steer", application.name, key, verb=verb))

    def _for(self, application: Application) -> Verb | None:
        """What a person would ask of a rollout that waits for people; None when none does."""
        rollout = application.running
        if rollout is None and application.queue and application.queue_stands is not None:
            return QueueResume()
        waiting = _job_of(rollout) if rollout is not None else None
        if waiting is not None:
            name, outcomes = waiting
            return SettleJob(
                name, self.world.chance.one_of(outcomes, "settle", application.name, self.tended)
            )
        if rollout is None or rollout.phase is not Phase.RUNNING:
            return None
        if rollout.pause is None:
            return Promote() if approvals(application, LATER) else None
        if not rollout.pause.is_hold:
            return Resume()
        is_tried = self.world.chance.happens(0.5, "tend", application.name, self.tended)
        return Retry() if is_tried else Rollback()

    # --------------------------------------------------------------------------------------- in the end

    def check_end(self) -> None:
        """Every acknowledged release was begun exactly once; in a calm world the good ones succeeded."""
        ledger = self.world.ledger
        for name, answer in self.acknowledged.items():
            application, kind, key = name.split("/")
            begun = sum(
                by == key and place[0] == application
                for place, by in ledger.rollouts.items()
            )  # fmt: skip
            is_promised = kind == "release" and not answer.is_queued
            if is_promised and begun != 1:
                self.world.broken(
                    6, f"release {key} was acknowledged as {answer.group}, and begun {begun} times"
                )
            if begun > 1:
                self.world.broken(6, f"{kind} {key} has begun {begun} rollouts")
        if self.world.scenario.is_calm:
            self._check_calm()

    def _check_calm(self) -> None:
        for (application, number), rollout in self.world.ledger.ended.items():
            group = self.world.ledger.numbered(self.world.ledger.applications[application], rollout.target)
            made = self.world.behaviour(group.digest) if group is not None else None
            is_good = made is not None and made.is_good and not made.is_worse
            reasons = (rollout.undo_reason, *(track.reason for track in rollout.tracks))
            by_people = any(map(is_by_people, reasons))
            if is_good and rollout.phase is not Phase.SUCCEEDED and not by_people:
                text = f"nothing goes wrong, and rollout {number} of {application} is {rollout.phase}"
                self.world.broken(5, f"{text}: {text_of(rollout.undo_reason)}")

"""Keeps refusals honest: a command that would be refused as well is not advised. Pure."""

from repave_controller.core.commands.promotion import Object, Override, Promote
from repave_controller.core.commands.queue import QueueDrop, QueueResume
from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.steering import Abort, Pause, Resume, Retry
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.application import Application, Instant, Observed
from repave_controller.core.domain.reasons import Refusal, Refused, Remedy
from repave_protos.protocol.copies import replace

CHOOSY = frozenset(
    {
        Refusal.ALREADY_BACK,
        Refusal.FIRST_STEP,
        Refusal.HELD,
        Refusal.HOSTS_GONE,
        Refusal.NOTHING_TO_ABORT,
        Refusal.NO_OBJECTION,
        Refusal.PAUSED,
        Refusal.PAUSED_ALREADY,
        Refusal.ROLLOUT_RUNNING,
        Refusal.ROLLOUT_RUNNING_AT_ROLLBACK,
    }
)
"""Refusals whose text lists the ways on that there are, however many."""


def with_ways_that_work(
    refused: Refused, application: Application, observed: Observed, now: Instant
) -> Refused:
    """The same refusal without the commands that would be refused in turn."""
    reason = refused.reason
    if refused.kind in CHOOSY:
        ways = tuple(each for each in reason.remedies if works(each, application, observed, now))
        refused.reason = replace(reason, remedies=ways)
    return refused


def works(remedy: Remedy, application: Application, observed: Observed, now: Instant) -> bool:
    """Whether it would be accepted now; what only looks always is."""
    verb = verb_of(remedy)
    try:
        if verb is not None:
            verb.apply(application, observed, "", "advised", now)
    except Refused:
        return False
    return True


def verb_of(remedy: Remedy) -> Verb | None:
    """What the command asks for; None of one that only looks, or is none of the rollout's."""
    options = dict(remedy.options)
    match remedy.command:
        case "abort":
            return Abort()
        case "pause":
            return Pause()
        case "object":
            return Object()
        case "resume":
            return Resume()
        case "queue resume":
            return QueueResume()
        case "queue drop":
            return QueueDrop(is_all=True)
        case "retry":
            return Retry()
        case "rollback":
            return Rollback(
                to=str(options.get("to", "")),
                force=bool(options.get("force")),
                at_once=bool(options.get("now")),
            )
        case "promote" if "override" in options:
            return Override(str(options["override"]))
        case "promote":
            return Promote(role=str(options.get("role", "")), skips=bool(options.get("skip")))
    return None

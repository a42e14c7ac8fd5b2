"""Bugs to be planted, each as a change of a few words, with the promises by which each may show itself.

`old` must stand in the code exactly once, in a function; one that does not is to be planted anew.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """`old` stands exactly once in the file."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Bug:
    """`promises`: those by which it may show itself; 0 is a crash or an alarm of the code's own."""

    name: str
    tier: int
    promises: tuple[int, ...]
    changes: tuple[Change, ...]


def _bug(name: str, tier: int, promises: tuple[int, ...], *changes: str) -> Bug:
    """`changes`: file, old, new, file, old, new, ..."""
    threes = zip(changes[::3], changes[1::3], changes[2::3], strict=True)
    return Bug(name, tier, promises, tuple(Change(*three) for three in threes))


ANALYSE = "controller/repave_controller/core/steps/analyse.py"
ANALYSES = "controller/repave_controller/core/domain/analyses.py"
LOOKS = "controller/repave_controller/core/rules/looks.py"
BASELINES = "controller/repave_controller/core/rollout/baselines.py"
APPROVE = "controller/repave_controller/core/steps/approve.py"
LIFECYCLE = "controller/repave_controller/core/commands/lifecycle.py"
RELEASE = "controller/repave_controller/core/commands/release.py"
ADMISSION = "agent/repave_agent/core/fence.py"
FLEET = "agent/repave_agent/core/fleet.py"
FRONTS = "agent/repave_agent/core/fronts.py"
REGION = "agent/repave_agent/core/region.py"
JOURNAL = "agent/repave_agent/runtime/journal.py"
LIFE = "agent/repave_agent/core/host_phase.py"
RECONCILE = "agent/repave_agent/core/reconcile.py"
SESSION = "agent/repave_agent/runtime/session.py"
SUMMARY = "agent/repave_agent/core/reports.py"
TRAFFIC = "agent/repave_agent/core/traffic.py"
ENDING = "controller/repave_controller/core/rollout/conclusion.py"
PARTS = "controller/repave_controller/core/rollout/transitions.py"
PUBLISHING = "controller/repave_controller/core/rollout/desired_state.py"
ROLLOUT = "controller/repave_controller/core/rollout/step.py"
UNDOING = "controller/repave_controller/core/rollout/rollback.py"
WAVES = "controller/repave_controller/core/rollout/waves.py"
SAFETY = "controller/repave_controller/core/rules/safety.py"
SCHEDULER = "controller/repave_controller/runtime/scheduler.py"
OWNER = "controller/repave_controller/runtime/owner.py"
RECEIPTS = "controller/repave_controller/runtime/idempotency.py"
SESSIONS = "controller/repave_controller/fleet/sessions.py"
VERIFY = "controller/repave_controller/core/steps/verify.py"
WEIGHT = "controller/repave_controller/core/steps/weight.py"
MEMBERSHIP = "controller/repave_controller/peers/membership.py"
DATABASE = "simulation/repave_simulation/tiers/database.py"
SHARED_STORE = "simulation/repave_simulation/tiers/shared_store.py"
ROSTER = "simulation/repave_simulation/tiers/shared_members.py"

AGENT_JOBS = "agent/repave_agent/core/jobs.py"
JOBS = "controller/repave_controller/core/rollout/jobs.py"

NO_SAFETY = (SAFETY, "    broken: list[Broken] = []\n", "    return []\n    broken: list[Broken] = []\n")

SCALING = "controller/repave_controller/core/commands/scaling.py"
LOADS = "controller/repave_controller/core/rules/scaling.py"

BUGS = (
    # --------------------------------------------------------------------------------------------- scaling
    _bug(
        "hosts end by their load while a rollout is under way", 1, (13,),
        SCALING, "        if hosts < self.before and is_rolling:\n            hosts = self.before\n", "",
        SCALING, "only_grows=is_rolling", "only_grows=False",
        LOADS, "hosts if is_rolling else _fewer(", "_fewer(",
    ),
    _bug(
        "a number of hosts is chosen upon one that is not in force", 1, (13,),
        SCALING, "is_overtaken = hosts_in_force(application, self.region) != self.before", "is_overtaken = False",
        SCALING, " or now > self.at + SECONDS_MAX", "",
    ),
    _bug(
        "a load that is not known is none", 1, (13,),
        LOADS, "if isfinite(value) else nan for value in measured.values]", "if isfinite(value) else 0.0 for value in measured.values]",
    ),
    _bug(
        "hosts end after a short time with less load", 1, (13,),
        LOADS, "peak = max(_means(past, wide))", "peak = list(_means(past, wide))[-1]",
    ),
    _bug(
        "a load beyond the bounds of the spec is followed", 1, (13,),
        LOADS, "more = max(hosts, min(wanted, scaling.most))", "more = max(hosts, wanted)",
        SCALING, "hosts = scaling.changed(self.before, self.choice.hosts)", "hosts = self.choice.hosts",
    ),
    # ------------------------------------------------------------------------------------------------ jobs
    _bug(
        "an attempt is begun by whoever is asked", 1, (12,),
        AGENT_JOBS, " or job.journal != self.journal:\n            return False\n", ":\n            return False\n",
        AGENT_JOBS, '        if job.journal not in ("", self.journal):\n            return "unknown", self.journal, None, NOT_HERE\n', "",
    ),
    _bug(
        "an attempt that is over is forgotten while it is asked for", 1, (12,),
        AGENT_JOBS, "        return highest is None or highest < key[1]\n", "        return True\n",
        AGENT_JOBS, "            if record.key not in self._desired and is_over", "            if is_over",
        AGENT_JOBS, "sorted(keys)[:-KEPT_MAX]", "sorted(keys)",
    ),
    _bug(
        "what a launch has not answered is tried again", 1, (12,),
        AGENT_JOBS, "isinstance(error, RefusedError | OutOfCapacityError | NotActingError)", "True",
    ),
    _bug(
        "an attempt of which nobody knows is followed by another one", 1, (12,),
        *NO_SAFETY,
        JOBS, " > job.retries:\n", " > job.retries + 1:\n",
        JOBS, "                state=_STATES[state],\n",
        '                state=RunState.FAILED if state == "unknown" else _STATES[state],\n',
    ),
    _bug(
        "a release does not wait for its jobs", 1, (12,),
        *NO_SAFETY,
        JOBS, "        if run is not None and run.is_open:\n            return _waiting(turn, job, run)\n",
        "        if run is not None and run.is_open:\n            continue\n",
    ),
    _bug(
        "a restarted controller asks for a new attempt", 1, (12,),
        *NO_SAFETY,
        ROLLOUT, "    runs = tuple(replace(run, asked_at=now) if run.is_open else run for run in rollout.runs)\n",
        "    runs = tuple(run for run in rollout.runs if not run.is_open)\n",
    ),
    # -------------------------------------------------------------------------------------------- analyses
    _bug(
        "what could not be judged goes on", 1, (11,),
        ANALYSES, "return Ending.UNJUDGED if analysis.errors > plan.error_limit else None", "return Ending.PASSED",
    ),
    _bug("a look counts whenever it comes", 1, (11,), LOOKS, "_next_looks(application, now) if now >= at)", "_next_looks(application, now))"),
    _bug(
        "a version that is worse goes on", 1, (11,),
        ANALYSES, "plan.failure_limit:\n        return Ending.FAILED", "plan.failure_limit:\n        return Ending.PASSED",
    ),
    _bug(
        "one look that passes is enough", 2, (0, 11),
        ANALYSES, "        analysis.judged >= plan.count or", "        analysis.judged >= 1 or",
    ),
    _bug(
        "what can't be told goes on", 1, (11,),
        ANALYSES, "return Ending.PASSED if is_limited and analysis.passed else Ending.UNDECIDED", "return Ending.PASSED",
    ),
    _bug(
        "what was seen before the step was tried again counts", 1, (11,),
        LOOKS, "    return rollout.with_analysis(Analysis(gate, region, run, track.entered_at, moved_at))",
        "    return rollout.with_analysis(replace(known, run=run, begun_at=track.entered_at) if known else Analysis(gate, region, run, track.entered_at, moved_at))",
    ),
    # ------------------------------------------------------------------------------------ fresh baselines
    _bug(
        "a baseline that nothing is compared with any more stays", 1, (2, 7),
        BASELINES, "    _end(turn, wanted)\n", "",
    ),
    # ------------------------------------------------------------------------------------------ worn hosts
    _bug(
        "a worn host goes before a fresh one is there", 1, (1, 4),
        TRAFFIC, "    verified.sort(key=lambda host: (is_replaced(host, group),",
        "    verified = [each for each in verified if not is_replaced(each, group)]\n    verified.sort(key=lambda host: (False,",
        TRAFFIC, "    return set() if others_up >= group.count else leaving", "    return set()",
    ),
    # ------------------------------------------------------------------------------- epochs and memory
    _bug("an agent does not fence", 1, (7,), ADMISSION, "if proposed.epoch < known.epoch:", "if False:"),
    _bug(
        "an epoch does not grow with what it stands for", 1, (7,),
        PUBLISHING, "replace(state, epoch=Epoch(tenure.incarnation, tenure.term, rev + 1))", "state",
    ),
    _bug("an agent forgets its journal but whose it is", 2, (1, 2, 3, 4, 5, 7), JOURNAL, "        return entries\n", "        return Entries(installation=entries.installation)\n"),
    _bug(
        "publish before commit", 2, (7,),
        OWNER, "            events = await office.store.commit(transaction)\n",
        "            from repave_controller.core.rules.divergence import offers\n"
        "            for region, state in offers(former, application):\n"
        "                office.regions.publish(region, state)\n"
        "            events = await office.store.commit(transaction)\n",
    ),
    _bug(
        "acknowledge before commit", 2, (6,),
        OWNER,
        "            await self._save(decision, observed, extra)\n        self._note",
        "            saving = asyncio.create_task(self._save(decision, observed, extra))\n"
        "            saving.add_done_callback(lambda task: task.exception())\n"
        "        self._note",
    ),
    _bug(
        "a command repeated is a new one", 2, (6,),
        RECEIPTS, "    receipt = await store.receipt(request.key) if request.key else None\n",
        "    receipt = None\n",
    ),
    _bug(
        "a decision counts although it was not saved", 2, (0, 1, 2, 3, 4, 5, 6, 7),
        OWNER, "            events = await office.store.commit(transaction)\n",
        "            self.application = application\n"
        "            events = await office.store.commit(transaction)\n",
    ),
    _bug(
        "a region that returns is told nothing", 2, (5,),
        SESSIONS, "Stream(hello, link, waiting, self._clock(), ", "Stream(hello, link, {}, self._clock(), ",
    ),
    # ----------------------------------------------------------------------------------- the decisions
    _bug(
        "flip before healthy", 1, (2, 5),
        VERIFY, "return have, place.application.policy.needed(need)", "return have, 0",
    ),
    _bug(
        "flip before healthy, and nobody checks the promises", 1, (1, 2),
        VERIFY, "return have, place.application.policy.needed(need)", "return have, 0",
        *NO_SAFETY,
        PUBLISHING, "ready_count=0 if is_proven else application.policy.needed(part.judged)", "ready_count=0",
        WEIGHT, "        return Guard(up < needed, reason)", "        return Guard(False, reason)",
    ),
    _bug(
        "no region of a lock-step wave waits for the others", 1, (0,),
        WAVES, "        if not rollout.waves[track.wave].is_lockstep:", "        if True:",
    ),
    _bug(
        "old groups are not kept", 1, (4,),
        ENDING, "(index < policy.retain or now < until)", "index < policy.retain",
    ),
    _bug(
        "a group is forgotten while it has hosts", 1, (5,),
        ENDING, "    return report.present == 0 and report.weight_bp == 0 and report.balancer_up == 0", "    return True",
    ),
    _bug(
        "a switch counts before the balancers say so", 1, (5,),
        SUMMARY, "weight_bp = route.weight_bp(group.name) if route else 0", "weight_bp = group.weight_bp",
    ),
    _bug("a step has no deadline", 1, (5,), ROLLOUT, "    if turn.now >= deadline:\n        reason", "    if False:\n        reason"),
    _bug(
        "an undo looks again and again at a region that is away", 1, (0, 5),
        UNDOING, "    if expiry is Expiry.LEAVE:\n        return Done()\n", "    if until == patience:\n        return Waiting(because, wake_at=until)\n",
    ),
    _bug(
        "what was never stored is released", 2, (10,),
        SCHEDULER, "if self._images.path(order.digest) is None:", "if False:",
    ),
    _bug(
        "an abort forgets the new group", 1, (5,),
        PARTS, "        if part.state is GroupState.NEW:\n            is_replaced", "        if False:\n            is_replaced",
    ),
    _bug(
        "a failed group that is kept to be looked at is kept for ever", 1, (5,),
        ENDING, "    stays = 1 if now < until else 0\n", "    stays = 1\n",
    ),
    _bug(
        "a soak counts the time in which no controller looked", 1, (0,),
        ROLLOUT, "    away = Instant(max(0.0, now - looked_at) if rollout.pause is None else 0.0)", "    away = Instant(0.0)",
    ),
    # ------------------------------------------------------------------------------ what people ask for
    _bug(
        "a deleted application keeps a group", 1, (1, 4, 5, 6, 7),
        LIFECYCLE, "        for group in application.groups:\n            ended = _retired(", "        for group in application.groups[1:]:\n            ended = _retired(",
    ),
    _bug(
        "a person may end the group that serves", 1, (0, 1, 2, 3, 4, 5, 6, 7),
        LIFECYCLE, "        if serving:\n            delete", "        if False:\n            delete",
    ),
    _bug(
        "an objection is not heard", 1, (0,),
        APPROVE, "        if self.unless_objected_seconds and objection is None:", "        if self.unless_objected_seconds:",
    ),
    _bug(
        "what a release replaces goes on", 1, (6,),
        RELEASE, "    if rollout.phase is not Phase.UNDOING:\n        losing", "    if False:\n        losing",
    ),
    _bug(
        "the latest release waits behind the others", 1, (6,),
        RELEASE, "    left = replace(application, queue=tuple(each for each in application.queue if each not in gone))\n", "    left = application\n",
    ),
    # --------------------------------------------------------------------------------------- the agent
    _bug(
        "hosts of a failed group are destroyed before they were looked at", 1, (4,),
        RECONCILE, "    if group.keeps_failed or is_behind", "    if is_behind",
    ),
    _bug(
        "hosts are destroyed while they take requests", 1, (1,),
        RECONCILE, "    backend = observation.balancer.structure.backend(host.group)\n    if backend is not None:\n        return not",
        "    backend = observation.balancer.structure.backend(host.group)\n    if backend is not None:\n        return True or not",
    ),
    _bug(
        "requests are cut off instead of drained", 1, (1,),
        TRAFFIC, "    return backend.in_flight == 0 or observation.now >= fact.drain_since + group.template.drain_seconds", "    return True",
    ),
    _bug(
        "hosts take requests before they are verified", 1, (2,),
        TRAFFIC, "    verified = observation.hosts_of(group.name, HostPhase.VERIFIED)\n    verified.sort",
        "    verified = observation.hosts_of(group.name, HostPhase.VERIFIED, HostPhase.HEALTHY, HostPhase.STARTING)\n    verified.sort",
    ),
    _bug("a held route is dropped", 1, (1, 7), TRAFFIC, "    given = present if state.frontend_port else None", "    given = None"),
    _bug("a listing that lags is believed", 1, (1, 2, 4, 5), FLEET, "        if now >= record.missing_since + LOST_AFTER_SECONDS and not self._answers(record):", "        if True:"),
    _bug(
        "what nobody wants is never collected", 1, (5,),
        "agent/repave_agent/core/orphans.py", "    return seen.last_at >= seen.first_at + limits.unclaimed_grace_seconds", "    return False",
    ),
    _bug("a host is made from another image", 1, (8,), FLEET, "        digest=group.digest,\n        template=", "        digest=type(group.digest)(\"0\" * 64),\n        template="),
    _bug("more hosts are launched than are missing", 1, (5,), RECONCILE, "else group.count - _held_places(group, observation)", "else group.count + 1 - _held_places(group, observation)"),
    _bug(
        "a retired group stays", 1, (5,),
        RECONCILE, "        if host.phase not in (HostPhase.DESTROYING, HostPhase.LAUNCHING) and not is_needed:\n", "        if False:\n",
    ),
    _bug(
        "host names are not remembered", 1, (0, 5),
        FLEET, "self.groups[group.name] = replace(fact, next_ordinal=end)",
        "self.groups[group.name] = replace(fact, next_ordinal=1)",
    ),
    _bug(
        "the old hosts go as soon as the new ones have the traffic", 1, (1, 4, 7),
        WEIGHT, "rest = replace(origin.part, weight_bp=FULL_WEIGHT_BP - share_bp)", "rest = replace(origin.part, weight_bp=FULL_WEIGHT_BP - share_bp, percent=0.0 if share_bp == FULL_WEIGHT_BP else origin.part.percent)",
    ),
    _bug(
        "an undo is called done at once", 1, (1, 3, 4, 5, 7),
        ROLLOUT, "    match undone(turn.application, rollout, track, turn.observed, turn.now):\n        case Done():",
        "    match undone(turn.application, rollout, track, turn.observed, turn.now):\n        case Done() | Waiting():",
    ),
    _bug(
        "a failed release keeps its share", 1, (1, 3, 4, 5, 7),
        PARTS, "        part = replace(target.part, weight_bp=0)\n", "        part = target.part\n",
    ),
    _bug(
        "an agent that lost its stream does not dial again", 2, (5,),
        SESSION, "            await self._sleep(delay_seconds)", "            await asyncio.Event().wait()",
    ),
    _bug(
        "the shares of a canary are swapped", 1, (3,),
        TRAFFIC, "route = Route(state.application, first.name, second.name, second.weight_bp)",
        "route = Route(state.application, first.name, second.name, first.weight_bp)",
    ),
    _bug(
        "testers reach a group before it is verified", 1, (2,),
        PUBLISHING, "    return any(step.is_proof for step in rollout.steps[: track.cursor])", "    return True",
    ),
    _bug(
        "testers stay with a group that takes none any more", 1, (1, 3, 5),
        TRAFFIC, "    return None, \"\"\n\n\ndef _had_traffic",
        "    return (present.testers if present is not None else None), \"\"\n\n\ndef _had_traffic",
    ),
    # ---------------------------------------------------------------------------------------- fronts
    _bug(
        "fronts follow what is desired before the balancer has it", 1, (14,),
        FRONTS, "if any(route.weight_bp(group.name) for route in routes)]", "if group.weight_bp]",
    ),
    _bug(
        "a front opens while a group with traffic lacks it", 1, (14,),
        FRONTS, "or all(name in fronts for fronts in named)", "or any(name in fronts for fronts in named)",
    ),
    _bug(
        "a front is closed as soon as one group with traffic lacks it", 1, (14,),
        FRONTS, "        if name in known or all(", "        if all(",
    ),
    _bug(
        "a front stays open as long as a group is kept that has it", 1, (5, 14),
        FRONTS, "if any(route.weight_bp(group.name) for route in routes)]", "if group.count]",
    ),
    _bug(
        "clients' way in is opened before there are hosts", 1, (14,),
        TRAFFIC, "    return not state.frontend_port or observation.balancer.structure.frontend(state.application) is not None", "    return True",
    ),
    # ------------------------------------------------------------------------------- adopted fleets
    _bug(
        "an adopted host is ended by the provider", 1, (1, 5),
        REGION, "                case Destroy() if self._fleet.records[action.host].is_adopted:\n",
        "                case Destroy() if action.host not in self._fleet.records:\n",
    ),
    _bug(
        "an adopted group is healed with fresh hosts", 1, (5,),
        RECONCILE, "    return 0 if group.is_adopted else group.count - _held_places",
        "    return group.count - _held_places",
    ),
    _bug(
        "an adopted fleet gets traffic before it is to", 1, (2,),
        PUBLISHING, "        weight_bp=0 if application.is_watched else part.weight_bp,\n", "        weight_bp=part.weight_bp,\n",
    ),
    # ------------------------------------------------------------------------------ several controllers
    _bug(
        "a lease is counted from the answer", 3, (7,),
        MEMBERSHIP, "        self._ends_at = sent + LEASE_SECONDS\n", "        self._ends_at = self._now() + LEASE_SECONDS\n",
    ),
    _bug(
        "a process that was frozen does not look at its lease", 3, (7,),
        MEMBERSHIP, "        if self._is_stopping or not self.has_lease:\n            return None\n        term",
        "        if self._is_stopping:\n            return None\n        term",
    ),
    _bug(
        "a commit is not fenced", 3, (4, 7),
        SHARED_STORE, "        if held.owner is None or held.term != tenure.term:\n", "        if False:\n",
    ),
    _bug(
        "a take-over raises no term", 3, (7,),
        ROSTER, "                roster.shards[number] = Held(number, member.id, held.term + 1)\n                taken[number] = held.term + 1\n",
        "                roster.shards[number] = Held(number, member.id, held.term)\n                taken[number] = held.term\n",
    ),
    _bug(
        "a controller publishes before its commit is fenced", 3, (7,),
        OWNER, "            events = await office.store.commit(transaction)\n",
        "            from repave_controller.core.rules.divergence import offers\n"
        "            for region, state in offers(former, application):\n"
        "                office.regions.publish(region, state)\n"
        "            events = await office.store.commit(transaction)\n",
    ),
    _bug(
        "a commit that was given up is saved late", 3, (0, 5, 6, 7),
        DATABASE, "        if writer.number >= number:\n", "        if False:\n",
    ),
    _bug(
        "a new incarnation is not noticed", 3, (5,),
        MEMBERSHIP, "        if standing is not None and standing.incarnation != self._incarnation:\n",
        "        if standing is not None and not self._incarnation:\n",
    ),
    _bug(
        "a command that comes by way of another controller too is carried out twice", 3, (6,),
        RECEIPTS, "    receipt = await store.receipt(request.key) if request.key else None\n",
        "    receipt = None\n",
    ),
)  # fmt: skip

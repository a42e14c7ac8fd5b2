"""How far a rollout is, as text: its waves and regions as a tree, each region's step and groups, and what is
waited for. Knows nothing of terminals: `status` prints this, `watch` shows it live."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from repave_cli.render.output import ago, left, percent, span, until

ALL_BP = 10_000
REGIONS_SHOWN_MAX = 12
REGIONS_NAMED_MAX = 8
STEPS_SHOWN_MAX = 6
NOTE = "note: "
"""How what is only good to know begins among a region's troubles."""
RECOVER = "adopt what it runs with: repave controller recover"
LABELS = {"waiting": "waits", "undoing": "going back", "undone": "as before", "skipped": "left out"}
TROUBLED = ("undoing", "held", "skipped")
OF_JOBS = ("job-failed", "job-unknown")
FOR_PEOPLE = ("approve", "paused", "held", "queue-stands", *OF_JOBS)
"""Kinds of waits that end when a person decides."""
QUIET = ("waiting", "done", "undone", "skipped")


class Branch(NamedTuple):
    """A line, with the server groups of its region below it, and other branches."""

    text: str
    groups: Sequence[dict[str, Any]] = ()
    below: Sequence["Branch"] = ()


class Some:
    """Regions, as people read them: all names, or the first ones and how many there are."""

    def __init__(self, count: int = 0, names: Iterable[str] = ()) -> None:
        self.count, self.names = count, list(names)

    def add(self, more: "Some") -> None:
        self.count += more.count
        self.names = [*self.names, *more.names][: REGIONS_NAMED_MAX + 1]

    def __str__(self) -> str:
        if self.count <= min(REGIONS_NAMED_MAX, len(self.names)):
            return ", ".join(self.names)
        return f"{', '.join(self.names[:3])}, ... ({self.count} regions)"


# ------------------------------------------------------------------------------------------------ the whole


def status_lines(status: dict[str, Any], *, is_wide: bool = False) -> list[str]:
    """An application as text: its rollout, its regions with their groups, then what is waited for."""
    serving = _served_by(status)
    if any(region["ahead"] for region in (*status["region_items"], *status.get("alike", ()))):
        serving = f"by the store's older copy {serving}"
    lines = [", ".join(filter(None, (f"{status['name']}: {serving}", ways_in(status))))]
    if status["current_rollout"]:
        lines.append(rollout_line(status["current_rollout"]))
    found = branches(status, is_wide=is_wide)
    if any(branch.below for branch in found) or _has_waves(status["current_rollout"]):
        lines += drawn(found)
    else:
        for branch in found:
            lines += [f"  {branch.text}", *(f"    {group_line(group)}" for group in branch.groups)]
    lines += [f"  {text}" for text in (*_scaled(status), *_left_out(status))]
    lines += [f"  queued: {queued_line(item)}" for item in status["queue"]["items"]]
    lines += [f"  waits: {each.text}{each.way_on}" for each in awaited(status["because"])]
    return lines


def ways_in(known: dict[str, Any]) -> str:
    """`port 8000`, or `https web at shop.example.com:443, tcp db at :5432`; "" of what clients don't
    reach. Of a status or a plan."""
    fronts = known.get("fronts") or []
    if len(fronts) > 1 or any(each["protocol"] != "http" or each["matches"] for each in fronts):
        return ", ".join(map(front_text, fronts))
    port = fronts[0]["port"] if fronts else known.get("port", 0)
    return f"port {port}" if port else ""


def front_text(front: dict[str, Any]) -> str:
    host, slash, path = front["matches"].partition("/")
    return f"{front['protocol']} {front['name']} at {host}:{front['port']}{slash}{path}"


def _scaled(status: dict[str, Any]) -> Iterator[str]:
    """The regions whose number of hosts is chosen within bounds, and why it is what it is."""
    for region in status["region_items"]:
        scaling = region.get("scaling")
        if not scaling:
            continue
        changed = ""
        if scaling["changed_at"]:
            reason = f": {scaling['reason']}" if scaling["reason"] else ""
            by = f" by {scaling['changed_by']}" if scaling["changed_by"] != "repave" else ""
            changed = f"; {scaling['before']} before, {ago(scaling['changed_at'])}{by}{reason}"
        yield f"scaled: {region['name']}: {scaling['hosts']} of {scaling['text']}{changed}"


def serving_text(status: dict[str, Any]) -> str:
    """`hello-v002 serves hello in oslo, paris`, or which group serves it in which regions."""
    regions = _serving(status)
    if len(regions) < 2:
        where = Some()
        for each, _ in _shown(status):
            where.add(each)
        name = f"{status['serving'] or 'no group'} serves {status['name']}"
        return name + (f" in {where}" if where.count else "")
    parts = [f"{group} in {where}" for (group, _), where in sorted(regions.items(), reverse=True)]
    return f"{status['name']} is served by {', '.join(parts)}"


def _shown(status: dict[str, Any]) -> Iterable[tuple[Some, list[dict[str, Any]]]]:
    """Regions with their groups; of a summary those that are alike at once."""
    for region in status["region_items"]:
        yield Some(1, [region["name"]]), region["groups"]
    for alike in status.get("alike", ()):
        yield Some(alike["count"], alike["names"]), alike["groups"]


def _serving(status: dict[str, Any]) -> dict[tuple[str, str], Some]:
    """Where each group, and version, serves."""
    regions: dict[tuple[str, str], Some] = {}
    for where, groups in _shown(status):
        for group in groups:
            if group["state"] == "serving":
                regions.setdefault((group["name"], group["version"]), Some()).add(where)
    return regions


def _served_by(status: dict[str, Any]) -> str:
    regions = _serving(status)
    if len(regions) > 1:
        parts = (
            f"{name} ({version}) serves in {where}"
            for (name, version), where in sorted(regions.items(), reverse=True)
        )
        return ", ".join(parts)
    if not status["serving"]:
        return "no group serves yet"
    name = f"{status['serving']} ({status['version']})"
    return _on_trial(name, status) or f"{name} serves"


def _on_trial(serving: str, status: dict[str, Any]) -> str:
    """What a group has whose release is not over yet; empty while it has no traffic."""
    regions: dict[tuple[str, str], Some] = {}
    shares, count = set(), status.get("regions_left", 0)
    for where, groups in _shown(status):
        count += where.count
        for group in groups:
            is_new = group["name"] != status["serving"] and not group.get("baseline_of")
            if group["weight_bp"] and is_new:
                regions.setdefault((group["name"], group["version"]), Some()).add(where)
                shares.add(group["weight_bp"])
    if len(regions) != 1:
        return ""
    (((name, version), where),) = regions.items()
    everywhere = where.count == count
    if everywhere and shares == {ALL_BP}:
        if any(group.get("worker") for _, groups in _shown(status) for group in groups):
            return f"{name} ({version}) works, and {serving} beside it until it is stopped"
        return f"{name} ({version}) has all traffic, {serving} is kept to go back to"
    if everywhere and len(shares) == 1:
        return f"{serving} serves, {name} ({version}) has {percent(max(shares))} of its traffic"
    return f"{serving} serves, {name} ({version}) has traffic in {where}"


def queued_line(item: dict[str, Any]) -> str:
    """One line: a release that waits."""
    since = f", {ago(item['queued_at'])}" if item["queued_at"] else ""
    by = f" by {item['by']}" if item["by"] else ""
    after = ", replaces what goes back" if item["replaces"] else ""
    return f"{item['number']}  {item['version']}{by}{since}{after}"


def drawn(found: Sequence[Branch], indent: str = "") -> list[str]:
    """The tree, with its lines."""
    lines = []
    for number, branch in enumerate(found, start=1):
        is_last = number == len(found)
        lines.append(f"{indent}{'`-' if is_last else '|-'} {branch.text}")
        deeper = indent + ("   " if is_last else "|  ")
        lines += [f"{deeper}  {group_line(group)}" for group in branch.groups]
        lines += drawn(branch.below, deeper)
    return lines


def branches(status: dict[str, Any], *, is_wide: bool) -> list[Branch]:
    """By wave where a rollout that has several is under way, else by region."""
    rollout = status["current_rollout"]
    regions = {region["name"]: region for region in status["region_items"]}
    if rollout is None or rollout["ended_at"]:
        return [*(_region(region, None, rollout) for region in regions.values()), *_alike(status)]
    waves = [_wave(number, rollout, regions, is_wide) for number in range(len(rollout["waves"]))]
    named = {track["region"] for wave in rollout["waves"] for track in wave["regions"]}
    others = [_region(region, None, rollout) for name, region in regions.items() if name not in named]
    return [*(waves if _has_waves(rollout) else waves[0].below), *others, *_alike(status)]


def _alike(status: dict[str, Any]) -> list[Branch]:
    """Of a summary: the regions of which the same can be said, with the hosts of all of them."""
    found = []
    for each in status.get("alike", ()):
        text = str(Some(each["count"], each["names"])) + _state(each)
        text += "".join(f"  {trouble(said)}" for said in each["troubles"])
        found.append(Branch(text, each["groups"]))
    return found


def _left_out(status: dict[str, Any]) -> list[str]:
    """What is too varied for a summary."""
    found = []
    if status.get("regions_left"):
        found.append(
            f"and {status['regions_left']} regions of other kinds: repave status {status['name']} -o wide"
        )
    if status.get("waits_left"):
        found.append(f"and {status['waits_left']} other waits: repave why {status['name']}")
    return found


def _has_waves(rollout: dict[str, Any] | None) -> bool:
    return rollout is not None and not rollout["ended_at"] and len(rollout["waves"]) > 1


# --------------------------------------------------------------------------------------- waves and regions


def _wave(number: int, rollout: dict[str, Any], regions: dict[str, Any], is_wide: bool) -> Branch:
    """Its regions; where it has many, or nothing happens in it, only those that are not like the others."""
    tracks = rollout["waves"][number]["regions"]
    count = sum(map(_count, tracks))
    is_quiet = all(track["phase"] in QUIET for track in tracks) and _has_waves(rollout)
    title = f"wave {number + 1}  {wave_state(number, rollout)}"
    if is_wide or not (is_quiet or count > REGIONS_SHOWN_MAX):
        return Branch(title, below=[_track(track, rollout, regions) for track in tracks])
    shown = [track for track in tracks if _is_troubled(track, regions.get(track["region"]))]
    alike: dict[str, Some] = {}
    for track in tracks:
        if track not in shown:
            alike.setdefault(label(track, rollout), Some()).add(Some(_count(track), _names(track)))
    if is_quiet and len(alike) == 1 and not shown:
        return Branch(f"{title}: {next(iter(alike.values()))}")
    below = [Branch(f"{text}: {names}") for text, names in alike.items()]
    return Branch(title, below=[*(_track(track, rollout, regions) for track in shown), *below])


def _count(track: dict[str, Any]) -> int:
    """How many regions it stands for: of a summary several."""
    return int(track.get("count", 1))


def _names(track: dict[str, Any]) -> list[str]:
    return list(track.get("names") or [track["region"]])


def _track(track: dict[str, Any], rollout: dict[str, Any], regions: dict[str, Any]) -> Branch:
    known = regions.get(track["region"])
    if known is None:
        return Branch(f"{track['region']}  {label(track, rollout)}")
    return _region(known, track, rollout)


def _region(region: dict[str, Any], track: dict[str, Any] | None, rollout: dict[str, Any] | None) -> Branch:
    state = _state(region)
    if track is not None and rollout is not None:
        where = label(track, rollout)
        is_told = _has_waves(rollout) or track["phase"] not in ("running", "waiting")
        is_told = is_told or (track["phase"] == "running" and track["step"] != rollout["step"])
        state = (f"  {where}" if is_told else "") + state
        state += f"  {track['reason']}" if track["reason"] else ""
    state += f"  {dns}" if (dns := _dns(region.get("dns"))) else ""
    state += "".join(f"  {trouble(text)}" for text in region["troubles"])
    place = f"  {region['traffic_address']}" if region["traffic_address"] else ""
    return Branch(f"{region['name']}{place}{state}", list(region["groups"]))


def _state(region: dict[str, Any]) -> str:
    """Of a region, or of several that are alike: what its agent is not as it should be."""
    away = "  AGENT NOT READY" if region["troubles"] else "  AGENT AWAY"
    state = "" if region["connected"] else away
    state += f"  AHEAD OF THE STORE; {RECOVER}" if region["ahead"] else ""
    is_late = region["connected"] and not region["current"] and not region["ahead"]
    return state + ("  (not yet up to date)" if is_late else "")


def _dns(record: dict[str, Any] | None) -> str:
    """Nothing of a region that is in DNS as it should be."""
    if record is None or (record["state"] == "in" and not record["drained"]):
        return ""
    by = f" ({record['drained_by'] or 'an operator'})" if record["drained"] else ""
    if record["state"] != "out":
        return f"DRAINED{by}, still in DNS" if record["drained"] else "DNS not known"
    rest = until(record["clients_until"]) if record["clients_until"] else 0.0
    still = f", clients may still come for {span(rest)}" if rest > 0 else ""
    return f"{'DRAINED' + by + ', ' if record['drained'] else ''}out of DNS{still}"


def trouble(text: str) -> str:
    """What is only good to know is no trouble."""
    return f"NOTE: {text.removeprefix(NOTE)}" if text.startswith(NOTE) else f"TROUBLE: {text}"


def _is_troubled(track: dict[str, Any], region: dict[str, Any] | None) -> bool:
    if region is None:
        return False
    is_ill = any(group["trouble"] for group in region["groups"]) and track["phase"] not in QUIET
    return (
        is_ill
        or bool(region["ahead"] or any(not text.startswith(NOTE) for text in region["troubles"]))
        or not region["connected"]
        or track["phase"] in TROUBLED
    )


def label(track: dict[str, Any], rollout: dict[str, Any]) -> str:
    """What a region does: `soak`, `weight 5 %`, `done`, `waits`, ..."""
    if track["phase"] != "running":
        return str(LABELS.get(track["phase"], track["phase"]))
    step = rollout["steps"][track["step"]]
    if len(rollout["steps"]) <= STEPS_SHOWN_MAX:
        return str(step["kind"])
    return f"{step['kind']} (step {track['step'] + 1} of {len(rollout['steps'])})"


def wave_state(number: int, rollout: dict[str, Any]) -> str:
    """What its regions do, in a few words."""
    wave = rollout["waves"][number]
    labels: Counter[str] = Counter()
    for track in wave["regions"]:
        labels[label(track, rollout)] += _count(track)
    if len(labels) > 1:
        return ", ".join(f"{count} {text}" for text, count in labels.items())
    (text,) = labels
    if text == "waits" and rollout["phase"] not in ("running", "paused"):
        return "never begun"
    passed = {each["gate"] for each in rollout["passes"] if each["kind"] != "objected"}
    if text == "waits" and wave["approve"] is not None and not {f"wave {number + 1}", "*"} & passed:
        return "waits, also for approval" + (f" by {wave['approve']}" if wave["approve"] else "")
    if text == "done" and wave["bake_seconds"] and not {f"bake {number + 1}", "*"} & passed:
        return f"done, {_baked(wave)}"
    return text


def _baked(wave: dict[str, Any]) -> str:
    ended = max(track["since"] for track in wave["regions"])
    rest = until(ended) + wave["bake_seconds"]
    return f"watched for {span(rest)} more" if rest > 0 else f"watched for {span(wave['bake_seconds'])}"


# ------------------------------------------------------------------------------------------- single lines


def rollout_line(rollout: dict[str, Any]) -> str:
    """One line: what it is, how far, how it ended."""
    text = f"{rollout['kind']} of {rollout['group']}: {rollout['phase']}"
    if rollout["phase"] == "paused":
        text += f" by {rollout['paused_by']}"
    text += f", {_present_wave(rollout)}" if _has_waves(rollout) else ""
    return "  ".join(part for part in (text, _steps(rollout), rollout["outcome"]) if part)


def _present_wave(rollout: dict[str, Any]) -> str:
    """The first one that is not done yet."""
    waves = rollout["waves"]
    open_waves = (
        number
        for number, wave in enumerate(waves, start=1)
        if any(track["phase"] in ("running", "undoing", "waiting") for track in wave["regions"])
    )
    return f"wave {next(open_waves, len(waves))} of {len(waves)}"


def _steps(rollout: dict[str, Any]) -> str:
    """Every step with how far it is; of many only the one that the slowest region is in."""
    steps = rollout["steps"]
    if len(steps) <= STEPS_SHOWN_MAX:
        marks = {"done": "+", "running": ">", "waiting": " ", "skipped": "-"}
        return " ".join(f"[{marks[step['state']]}{step['kind']}]" for step in steps)
    if rollout["ended_at"]:
        return f"{len(steps)} steps" if rollout["phase"] == "succeeded" else ""
    return f"step {rollout['step'] + 1} of {len(steps)}: {steps[rollout['step']]['kind']}"


def state_of(group: dict[str, Any]) -> str:
    """What it is for; a baseline is new for all of its life."""
    is_compared = group.get("baseline_of") and group["state"] == "new"
    return "baseline" if is_compared else str(group["state"])


def group_line(group: dict[str, Any]) -> str:
    """One line: hosts by phase, traffic, trouble."""
    phases = ("launching", "starting", "healthy", "verified", "unhealthy", "failed", "destroying")
    counts = ", ".join(f"{group[phase]} {phase}" for phase in phases if group[phase]) or "no hosts"
    traffic = percent(group["weight_bp"])
    if group["weight_bp"] != group["wanted_weight_bp"]:
        traffic += f" (wanted {percent(group['wanted_weight_bp'])})"
    line = f"{group['name']:<20} {state_of(group):<9} {counts} of {group['size']}  {shared(group)} {traffic}"
    if group.get("in_flight") and not group["weight_bp"]:
        left = group["in_flight"]
        line += f", {left} connection{'s' if left > 1 else ''} left"
    return f"{line}  {group['trouble']}" if group["trouble"] else line


def shared(group: dict[str, Any]) -> str:
    """What its weight is a share of."""
    return "work" if group.get("worker") else "traffic"


# --------------------------------------------------------------------------------------- what is waited for


class Awaited(NamedTuple):
    """One thing that is waited for, wherever it is; what follows, and what a person could do."""

    text: str
    since: str | None
    then: tuple[str, ...]
    remedies: tuple[str, ...]
    is_for_people: bool

    @property
    def way_on(self) -> str:
        """The command, where nothing but a person is waited for."""
        return f"; {self.remedies[0]}" if self.is_for_people and self.remedies else ""


def awaited(items: Iterable[dict[str, Any]]) -> list[Awaited]:
    """Said once where several regions wait for the same, persons first. That a wave waits for the ones before
    it is told by the tree, and left out where there is anything else."""
    same: dict[str, list[dict[str, Any]]] = {}
    for because in items:
        same.setdefault(because["text"], []).append(because)
    others = {text: alike for text, alike in same.items() if alike[0]["kind"] != "earlier-waves"}
    found = [_awaited(text, alike) for text, alike in (others or same).items()]
    return sorted(found, key=lambda each: not each.is_for_people)


def _awaited(what: str, alike: list[dict[str, Any]]) -> Awaited:
    regions = Some()
    for name, each in {each["region"]: each for each in alike if each["region"]}.items():
        regions.add(Some(each.get("count", 1), each.get("names") or [name]))
    ends = [each["until"] for each in alike if each["until"]]
    text = f"{regions}: {what}" if regions.count else what
    if ends:
        text += f", at most {left(max(ends)).removeprefix('in ')} more"
    return Awaited(
        text,
        min((each["since"] for each in alike if each["since"]), default=None),
        tuple(dict.fromkeys(each["then"] for each in alike if each["then"])),
        tuple(dict.fromkeys(each["remedy"]["text"] for each in alike if each["remedy"]))[:REGIONS_NAMED_MAX],
        alike[0]["kind"] in FOR_PEOPLE,
    )


def job_awaited(status: dict[str, Any]) -> str:
    """What a job that has failed for good, or of which nobody knows how it ended, waits for; "" when none
    does."""
    found = (each for each in status["because"] if each["kind"] in OF_JOBS)
    return next((f"{each['text']}: {each['remedy']['text']}" for each in found if each["remedy"]), "")


def person_awaited(status: dict[str, Any]) -> str:
    """What the rollout waits for that only a person can do, with the command; "" when there is none."""
    if status["phase"] == "paused":
        by = status["current_rollout"]["paused_by"]
        return f"paused by {by}; it goes on with: repave resume {status['name']}"
    if status["gates"]:
        gate = status["gates"][0]
        by = f" by {gate['role']}" if gate["role"] else ""
        return f"approval of {gate['gate']}{by}: {gate['command']}"
    return ""

"""A rollout as a screen of so many columns and rows: what it is and how far, then regions that fail, those
that move, those that wait, and those that are done in one line; at the end what is waited for and what helps.

Knows nothing of terminals: a line is spans of text and style, and painter.py shows it. What does not fit is
counted, never cut in silence.
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from repave_cli.render.output import percent, span
from repave_cli.render.progress import (
    ALL_BP,
    NOTE,
    STEPS_SHOWN_MAX,
    Some,
    awaited,
    label,
    trouble,
    wave_state,
)

BAD, WAITING, MOVING, GOOD, QUIET, STRONG = "bad", "waiting", "moving", "good", "quiet", "strong"
GLYPHS: Final = {
    "done": "✓", "running": "▶", "waiting": "·", "skipped": "-", "bad": "✗", "full": "█", "part": "▒",
    "empty": "░", "line": "━", "rest": "─", "more": "…",
}  # fmt: skip
PLAIN: Final = {
    "done": "+", "running": ">", "waiting": ".", "skipped": "-", "bad": "!", "full": "#", "part": "+",
    "empty": ".", "line": "=", "rest": "-", "more": "...",
}  # fmt: skip
"""Of terminals that show no more than ASCII."""
WIDTH_MIN, ROWS_MIN = 40, 8
NAME_MAX, BAR_MAX, BAR_MIN = 24, 24, 6
TITLES: Final = {"bad": "failing", "moving": "moving", "waiting": "to come", "done": "done"}
STYLES: Final = {"bad": BAD, "moving": MOVING, "waiting": QUIET, "done": GOOD}
MARKS: Final = {"bad": "bad", "moving": "running", "waiting": "waiting", "done": "done"}
WAITS_SHOWN_MAX = 3

Span = tuple[str, str]
Line = list[Span]


@dataclass(slots=True)
class Place:
    """A region, or several that are alike, with what it does and its groups."""

    where: Some
    state: str  # bad, moving, waiting or done
    doing: str = ""
    said: list[str] = field(default_factory=list)
    groups: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.where.names[0] if self.where.count == 1 else f"{self.where.count} regions"


def screen(
    status: Mapping[str, Any], width: int, rows: int, seconds: float, glyphs: Mapping[str, str] = GLYPHS
) -> list[Line]:
    """At most `rows` lines of at most `width` columns; `seconds`: how long one has looked on."""
    width, rows = max(WIDTH_MIN, width), max(ROWS_MIN, rows)
    places = places_of(status)
    head = [*_title(status, width, seconds, glyphs), *_counts(status, places, width, glyphs)]
    foot = _waits(status, width)
    left = rows - len(head) - len(foot)
    return [*head, *_body(status, places, width, max(1, left), glyphs), *foot][:rows]


def text_of(line: Line) -> str:
    return "".join(text for text, _ in line)


# ---------------------------------------------------------------------------------------------------- above


def _title(
    status: Mapping[str, Any], width: int, seconds: float, glyphs: Mapping[str, str]
) -> Iterator[Line]:
    rollout = status["current_rollout"]
    if rollout is None:
        yield [(_clipped(str(status["name"]), width, glyphs), STRONG)]
        return
    phase = rollout["phase"] + (f" by {rollout['paused_by']}" if rollout["phase"] == "paused" else "")
    right = f"{phase}  {span(seconds)}"
    named = f"{rollout['kind']} of {rollout['group']}"
    version = f"  {rollout['version']}" if rollout.get("version") else ""
    left = _clipped(named + version, max(1, width - len(right) - 2), glyphs)
    style = BAD if phase in ("rolled-back", "held") else WAITING if rollout["phase"] == "paused" else MOVING
    yield [(left, STRONG), (" " * max(2, width - len(left) - len(right)), ""), (right, style)]
    yield from _steps(rollout, width, glyphs)
    if rollout["outcome"]:
        yield from _said(str(rollout["outcome"]), width, 0, BAD if style == BAD else "")


def _steps(rollout: Mapping[str, Any], width: int, glyphs: Mapping[str, str]) -> Iterator[Line]:
    """Every step with its mark, where they fit; else the present one among how many."""
    steps = rollout["steps"]
    styles = {"done": GOOD, "running": MOVING, "waiting": QUIET, "skipped": QUIET}
    parts = [(f"{glyphs[step['state']]} {step['kind']}", styles[step["state"]]) for step in steps]
    if sum(len(text) + 2 for text, _ in parts) - 2 <= width and len(steps) <= 2 * STEPS_SHOWN_MAX:
        line: Line = []
        for part in parts:
            line += [("  ", ""), part] if line else [part]
        yield line
    elif steps:
        number = rollout["step"]
        text = f"step {number + 1} of {len(steps)}: {steps[number]['text']}"
        yield [_bar(number * ALL_BP // len(steps), max(BAR_MIN, width // 5), glyphs), (" ", "")]
        yield [(_clipped(text, width, glyphs), MOVING)]


def _counts(
    status: Mapping[str, Any], places: Sequence[Place], width: int, glyphs: Mapping[str, str]
) -> Iterator[Line]:
    """How many regions are where, with a bar of those that are done; and each of several waves."""
    counts = {state: sum(each.where.count for each in places if each.state == state) for state in TITLES}
    total = sum(counts.values())
    if total > 1:
        line: Line = []
        for state, count in counts.items():
            if count:
                text = f"{glyphs[MARKS[state]]} {count} {TITLES[state]}"
                line += [("  ", ""), (text, STYLES[state])] if line else [(text, STYLES[state])]
        room = width - len(text_of(line)) - 2
        if room >= BAR_MIN:
            line += [("  ", ""), *_progress(counts["done"], total, min(room, width // 3), glyphs)]
        yield line
    rollout = status["current_rollout"]
    if rollout is not None and len(rollout["waves"]) > 1 and not rollout["ended_at"]:
        for number in range(len(rollout["waves"])):
            state = wave_state(number, rollout)
            style = GOOD if state.startswith("done") else QUIET if state.startswith("waits") else MOVING
            yield [(_clipped(f"wave {number + 1}  {state}", width, glyphs), style)]


def _progress(done: int, total: int, width: int, glyphs: Mapping[str, str]) -> Line:
    full = width * done // max(1, total)
    return [(glyphs["line"] * full, GOOD), (glyphs["rest"] * (width - full), QUIET)]


# -------------------------------------------------------------------------------------------------- regions


def places_of(status: Mapping[str, Any]) -> list[Place]:
    """Regions by what they do: failing ones first, then moving ones, then those to come, then done ones."""
    rollout = status["current_rollout"]
    tracks = _tracks(rollout)
    regions = list(status["region_items"])
    found = [
        _place(Some(1, [region["name"]]), region, tracks.get(region["name"]), rollout) for region in regions
    ]
    shown = {region["name"] for region in regions}
    summed = [track for name, track in tracks.items() if name not in shown and "count" in track]
    alike = list(status.get("alike", ()))
    for kind in alike:
        track = _track_of(kind, summed)
        found.append(_place(Some(kind["count"], kind["names"]), kind, track, rollout))
    if not alike:
        found += [Place(_some(track), _state(track, None), label(track, rollout)) for track in summed]
    order = list(TITLES)
    return sorted(found, key=lambda each: order.index(each.state))


def _tracks(rollout: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """By region; of a summary the first region of several that are equally far."""
    if rollout is None or rollout["ended_at"]:
        return {}
    return {track["region"]: track for wave in rollout["waves"] for track in wave["regions"]}


def _track_of(kind: Mapping[str, Any], summed: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """How far regions are that are alike. Only the first names of both are known: where these do not tell, it
    is what most regions do."""
    named = (each for each in summed if set(each["names"]) & set(kind["names"]))
    as_many = (each for each in summed if each["count"] == kind["count"])
    largest = max(summed, key=lambda each: int(each["count"]), default=None)
    return next(named, None) or next(as_many, None) or largest


def _some(track: Mapping[str, Any]) -> Some:
    return Some(track.get("count", 1), list(track.get("names") or [track["region"]]))


def _place(
    where: Some, region: dict[str, Any], track: dict[str, Any] | None, rollout: dict[str, Any] | None
) -> Place:
    said = [] if region["connected"] else ["its agent is away"]
    said += [trouble(text).removeprefix("TROUBLE: ") for text in region["troubles"]]
    said += [f"ahead of the store: {region['ahead']}"] if region["ahead"] else []
    said += [track["reason"]] if track is not None and track["reason"] else []
    ill = [each["trouble"] for each in region["groups"] if each["trouble"]]
    is_bad = not region["connected"] or region["ahead"] or ill
    is_bad = is_bad or any(not text.startswith(NOTE) for text in region["troubles"])
    doing = label(track, rollout) if track is not None and rollout is not None else ""
    return Place(where, "bad" if is_bad else _state(track, rollout), doing, said, region["groups"])


def _state(track: Mapping[str, Any] | None, rollout: Mapping[str, Any] | None) -> str:
    if track is None:
        is_failed = rollout is not None and rollout["phase"] == "held"
        return "bad" if is_failed else "done"
    states = {"running": "moving", "undoing": "bad", "held": "bad", "skipped": "bad", "waiting": "waiting"}
    return states.get(track["phase"], "done")


def _body(
    status: Mapping[str, Any], places: Sequence[Place], width: int, rows: int, glyphs: Mapping[str, str]
) -> list[Line]:
    """The regions that matter most, as many as there is room for; the others counted."""
    folded = [each for each in places if each.state in ("waiting", "done")]
    if all(each.state == "done" for each in places) and sum(each.where.count for each in places) <= 2:
        folded = []
    open_places = [each for each in places if not any(each is other for other in folded)]
    below = list(_folds(folded, width, glyphs))
    name_width = max((len(each.name) for each in open_places), default=0)
    name_width = min(NAME_MAX, width // 4, name_width)
    every = [list(_lines(status, each, name_width, width, glyphs)) for each in open_places]
    if sum(map(len, every)) + len(below) > rows:
        every = [list(_lines(status, each, name_width, width, glyphs, is_short=True)) for each in open_places]
    lines: list[Line] = []
    for number, block in enumerate(every):
        is_last = number == len(open_places) - 1
        if len(lines) + len(block) + len(below) + (not is_last) > rows:
            rest = sum(each.where.count for each in open_places[number:])
            lines.append([(f"  {glyphs['more']} and {rest} more of these: repave hosts, or -o wide", QUIET)])
            break
        lines += block
    return [*lines, *below][:rows]


def _folds(places: Sequence[Place], width: int, glyphs: Mapping[str, str]) -> Iterator[Line]:
    """All that are done, and all that are to come, in a line each."""
    for state in ("waiting", "done"):
        where = Some()
        for each in places:
            if each.state == state:
                where.add(each.where)
        if where.count:
            text = f"{glyphs[MARKS[state]]} {TITLES[state]}: {where}"
            yield [(_clipped(text, width, glyphs), STYLES[state])]


def _lines(
    status: Mapping[str, Any],
    place: Place,
    name_width: int,
    width: int,
    glyphs: Mapping[str, str],
    *,
    is_short: bool = False,
) -> Iterator[Line]:
    """A region: its name, then each group with hosts and traffic, then what is wrong with it. `is_short`: the
    newest group alone."""
    mark, style = glyphs[MARKS[place.state]], STYLES[place.state]
    name = _clipped(place.name, name_width, glyphs)
    first: Line = [(f"{mark} ", style), (f"{name:<{name_width}}  ", STRONG)]
    indent: Line = [(" " * (name_width + 4), "")]
    rollout = status["current_rollout"]
    new = rollout["group"] if rollout is not None and not rollout["ended_at"] else ""
    groups = [
        each
        for each in reversed(place.groups)
        if _hosts(each) or each["weight_bp"] or (each["name"] == new and each["size"])
    ]
    groups = groups[:1] if is_short else groups
    doing = place.doing
    for number, group in enumerate(groups):
        start = first if number == 0 else list(indent)
        yield from _group(status, group, start, doing if number == 0 else "", width, glyphs)
    if not groups:
        yield [*first, (_clipped(doing or "no hosts yet", width - name_width - 4, glyphs), style)]
    for text in place.said:
        yield from _said(text, width, name_width + 4, BAD if place.state == "bad" else QUIET)


def _hosts(group: Mapping[str, Any]) -> int:
    phases = ("launching", "starting", "healthy", "verified", "unhealthy", "failed", "destroying")
    return sum(int(group[phase]) for phase in phases)


def _group(
    status: Mapping[str, Any],
    group: dict[str, Any],
    start: Line,
    doing: str,
    width: int,
    glyphs: Mapping[str, str],
) -> Iterator[Line]:
    name = str(group["name"]).removeprefix(f"{status['name']}-")
    hosts = f"{group['verified']}/{group['size']}"
    traffic = percent(group["weight_bp"])
    at = len(text_of(start))
    fixed = at + len(f"{name:<5} ") + len(f" {hosts:>7} {traffic:>7}")
    bar_width = max(BAR_MIN, min(BAR_MAX, width - fixed - (len(doing) + 2 if width >= 80 else 0)))
    line: Line = [
        *start,
        (f"{name:<5} ", QUIET if doing == "" else ""),
        *_hosts_bar(group, bar_width, glyphs),
    ]
    line.append((f" {hosts:>7} {traffic:>7}", ""))
    room = width - len(text_of(line)) - 2
    if doing and room >= len(doing):
        line.append((f"  {doing}", QUIET))
    said = str(group["trouble"])
    if said and width - len(text_of(line)) - 2 >= len(said):
        line.append((f"  {said}", BAD))
        said = ""
    yield line
    if said:
        yield from _said(said, width, at, BAD)


def _hosts_bar(group: Mapping[str, Any], width: int, glyphs: Mapping[str, str]) -> Line:
    """Verified hosts, then those that start, then what is missing; ill ones at its end."""
    size = max(1, int(group["size"]))
    full = min(width, width * int(group["verified"]) // size)
    starting = sum(int(group[phase]) for phase in ("launching", "starting", "healthy"))
    ill = sum(int(group[phase]) for phase in ("unhealthy", "failed"))
    bad = min(width - full, max(1, width * ill // size)) if ill else 0
    part = min(width - full - bad, width * starting // size)
    rest = width - full - part - bad
    return [
        (glyphs["full"] * full, GOOD),
        (glyphs["part"] * part, MOVING),
        (glyphs["empty"] * rest, QUIET),
        (glyphs["bad"] * bad, BAD),
    ]


def _bar(share_bp: int, width: int, glyphs: Mapping[str, str]) -> Span:
    full = width * share_bp // ALL_BP
    return glyphs["line"] * full + glyphs["rest"] * (width - full), MOVING


# -------------------------------------------------------------------------------------------------- beneath


def _waits(status: Mapping[str, Any], width: int) -> list[Line]:
    """What is waited for, persons first, each with the command that helps."""
    found = awaited(status["because"])
    lines: list[Line] = []
    for each in found[:WAITS_SHOWN_MAX]:
        style = WAITING if each.is_for_people else QUIET
        lines += _said(f"waits  {each.text}", width, 0, style, deeper=7)
        if each.is_for_people and each.remedies:
            lines += _said(each.remedies[0], width, 7, STRONG)
    if len(found) > WAITS_SHOWN_MAX:
        lines.append(
            [(f"       and {len(found) - WAITS_SHOWN_MAX} more: repave why {status['name']}", QUIET)]
        )
    return [[], *lines] if lines else []


def _said(text: str, width: int, indent: int, style: str, deeper: int | None = None) -> Iterator[Line]:
    """A sentence over as many lines as it needs; three at most."""
    pad = " " * indent
    below = pad if deeper is None else " " * deeper
    wrapped = textwrap.wrap(text, width, initial_indent=pad, subsequent_indent=below, max_lines=3)
    yield from ([(each, style)] for each in wrapped)


def _clipped(text: str, width: int, glyphs: Mapping[str, str]) -> str:
    more = glyphs["more"]
    return text if len(text) <= width else text[: max(0, width - len(more))] + more


def lines_as_text(lines: Iterable[Line]) -> list[str]:
    return [text_of(line).rstrip() for line in lines]

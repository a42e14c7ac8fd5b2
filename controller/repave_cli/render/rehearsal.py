"""Draws a rehearsal as text: the timeline of the calm run, tables of what faults did, and the advice.

Works on the document that `repave simulate -o json` prints.
"""

from typing import Any

from repave_cli.render.output import Column, column, table

WIDTH = 72
REASON_LENGTH = 100
REASONS_MAX = 5
UNHELPED_MAX = 3
CELLS = {
    "came-through": "ok",
    "went-back": "back",
    "fell-below": "FELL",
    "not-seen": "UNSEEN",
    "held": "HELD",
    "never-ended": "STUCK",
    "promise-broken": "BUG",
}


def rehearsal_lines(document: dict[str, Any], *, is_wide: bool) -> list[str]:
    """The whole report for people; wide gives every reason."""
    lines = [_title(document), *_timeline(document), "", *_capacity(document)]
    if document["rollbacks"]:
        lines += ["", *_rollbacks(document)]
    if document["faults"]:
        lines += ["", *_faults(document, is_wide=is_wide)]
    if document["seeds"]["seeds"]:
        lines += ["", *_seeds(document)]
    lines += ["", *_advice(document, is_wide=is_wide)]
    return [*lines, *_broken(document), _last(document)]


def length(seconds: float) -> str:
    """A measured time: 0.02 s, 4.1 s, 55 s, 5 min 55 s."""
    if seconds < 0.01:
        return "0 s"
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


# -------------------------------------------------------------------------------------------- timeline


def _title(document: dict[str, Any]) -> str:
    calm = document["calm"]
    code = "the whole code" if document["is_whole_code"] else "the deciding code"
    why = f": {calm['reason'][:REASON_LENGTH]}" if calm["reason"] else ""
    return (
        f"{document['application']}: {calm['ended'] or 'not ended'} when nothing goes wrong, after "
        f"{length(calm['seconds'])}{why}\n  (a boot takes about {length(document['boot_seconds'])}; {code} "
        "of a release in virtual time)"
    )


def _timeline(document: dict[str, Any]) -> list[str]:
    """Steps from left to right; short ones are drawn as wide as their names."""
    calm = document["calm"]
    spans = calm["steps"]
    if not spans:
        return []
    widths = _widths(spans)
    indent = " " * 17
    names = "".join(
        f"|{span['step'][: width - 1]:<{width - 1}}" for span, width in zip(spans, widths, strict=True)
    )
    begins = "".join(
        f"{length(span['begins']):<{width}}" for span, width in zip(spans, widths, strict=True)
    )  # fmt: skip
    lines = ["", f"{indent}{names}|", f"{indent}{begins}{length(spans[-1]['ends'])}"]
    instants = [
        span["begins"] + (span["ends"] - span["begins"]) * (index + 0.5) / width
        for span, width in zip(spans, widths, strict=True)
        for index in range(width)
    ]
    for region in document["regions"]:
        lines += _region(region, calm["samples"], instants)
    return [*lines, "  hosts: # all well  + some  . none;  requests: o old group  n new group  % both"]


def _widths(spans: list[dict[str, Any]]) -> list[int]:
    """By the square root of their length, and at least as wide as the name and the time."""
    least = [max(len(span["step"]), len(length(span["begins"]))) + 2 for span in spans]
    roots = [max(span["ends"] - span["begins"], 0.0) ** 0.5 for span in spans]
    spare = max(0, WIDTH - sum(least))
    return [
        narrow + int(spare * root / (sum(roots) or 1.0)) for narrow, root in zip(least, roots, strict=True)
    ]


def _region(region: dict[str, Any], samples: list[dict[str, Any]], instants: list[float]) -> list[str]:
    own = [each for each in samples if each["region"] == region["name"]]
    seen = [_at(own, instant) for instant in instants]
    rows = [("new", region["size"])]
    if region["old_size"]:
        rows.insert(0, ("old", region["old_size"]))
    lines = []
    for group, size in rows:
        bar = "".join(_level(each[f"{group}_well"], each[group], size) for each in seen)
        name = region["name"][:8] if group == rows[0][0] else ""
        lines.append(f"  {name:<8} {f'{group} {size}':<6} {bar}")
    traffic = "".join(_share(each["share_bp"], each["routed_bp"]) for each in seen)
    return [*lines, f"  {'':<8} {'to':<6} {traffic}"]


def _at(samples: list[dict[str, Any]], instant: float) -> dict[str, Any]:
    """The last one before the instant, or the first."""
    return next((each for each in reversed(samples) if each["at"] <= instant), samples[0])


def _level(well: int, made: int, size: int) -> str:
    if well >= size:
        return "#"
    return "+" if made else "."


def _share(share_bp: int, routed_bp: int) -> str:
    if not routed_bp:
        return "."
    if share_bp in (0, routed_bp):
        return "n" if share_bp else "o"
    return "%"


def _capacity(document: dict[str, Any]) -> list[str]:
    columns = (
        column("REGION"),
        column("SIZE"),
        column("FLOOR"),
        Column("LOWEST ANSWERING", lambda item: f"{item['lowest']} ({item['lowest_percent']:.0f} %)"),
        Column("PEAK ANSWERING", lambda item: item["peak"]),
        Column("PEAK HOSTS", lambda item: f"{item['peak_hosts']} ({item['peak_hosts_percent']:.0f} %)"),
    )
    return table(columns, document["calm"]["regions"]).splitlines()


# -------------------------------------------------------------------------------------- what went wrong


def _rollbacks(document: dict[str, Any]) -> list[str]:
    lines = ["Going back, requested in the middle of each step:"]
    for each in document["rollbacks"]:
        when = f"{each['step']}, one old host just lost" if each["fault"] else each["step"]
        if each["is_refused"]:
            text = f"refused ({each['why']})" + ("; --force goes back" if each["fault"] else "")
        elif each["traffic_seconds"] is None:
            text = "NOT within the time that was watched"
        elif not each["traffic_seconds"]:
            text = f"the old group had the traffic; all settled after {_settled(each)}"
        else:
            text = (
                f"traffic is back after {length(each['traffic_seconds'])}, all settled after {_settled(each)}"
            )
        lines.append(f"  {when:<28} {text}")
    return lines


def _settled(back: dict[str, Any]) -> str:
    return length(back["settled_seconds"]) if back["settled_seconds"] is not None else "more than was watched"


def _faults(document: dict[str, Any], *, is_wide: bool) -> list[str]:
    """A row for each fault, a column for each step; where capacity fell, its lowest percentage."""
    rows: dict[str, dict[str, Any]] = {}
    steps: list[str] = []
    for each in document["faults"]:
        name = f"{each['fault']} ({each['group']})" if each["group"] else each["fault"]
        rows.setdefault(name, {"FAULT": name})[each["step"] or "EVER"] = _cell(each)
        if each["step"] and each["step"] not in steps:
            steps.append(each["step"])
    images = [row for row in rows.values() if "EVER" in row]
    others = [row for row in rows.values() if "EVER" not in row]
    lines = ["What each fault did (ok: succeeded; back: rolled back by itself; % answered at the lowest):"]
    for row in images:
        lines.append(f"  {row['FAULT']:<28} {row['EVER']}")
    if others:
        columns = [
            Column(title.upper(), lambda item, title=title: item.get(title, "-"))  # type: ignore[misc]
            for title in ("FAULT", *steps)
        ]
        lines += [f"  {line}" for line in table(columns, others).splitlines()]
    return lines + _reasons(document, is_wide=is_wide)


def _cell(struck: dict[str, Any]) -> str:
    lowest = f" {struck['lowest_percent']:.0f}%" if struck["lowest_percent"] < 99.5 else ""
    return CELLS[struck["verdict"]] + lowest


def _reasons(document: dict[str, Any], *, is_wide: bool) -> list[str]:
    failed = [each for each in document["faults"] if each["verdict"] != "came-through"]
    failed.sort(key=lambda each: bool(each["is_fine"]))
    shown = failed if is_wide else failed[:REASONS_MAX]
    lines = []
    for each in shown:
        whose = f" ({each['group']})" if each["group"] else ""
        step = f" at {each['step']}" if each["step"] else ""
        how = each["ended"] or "not ended"
        why = f": {each['reason'][:REASON_LENGTH]}" if each["reason"] else ""
        lines.append(f"  {each['fault']}{whose}{step}: {how} after {length(each['seconds'])}{why}")
    if len(shown) < len(failed):
        lines.append(f"  ... and {len(failed) - len(shown)} more: -o wide")
    return lines


def _seeds(document: dict[str, Any]) -> list[str]:
    seeds = document["seeds"]
    ended = ", ".join(f"{count} {how or 'never ended'}" for how, count in sorted(seeds["ended"].items()))
    return [
        f"{seeds['seeds']} random mixtures of faults: {ended}; the slowest took "
        f"{length(seeds['slowest_seconds'])}"
    ]


def _advice(document: dict[str, Any], *, is_wide: bool) -> list[str]:
    lines = []
    for each in document["advice"]:
        helps = each["helps"]
        more = f" and {len(helps) - 1} more" if len(helps) > 1 else ""
        lines.append(
            f"  {each['field']}: {each['now']} -> {each['value']}   seen to help with: {helps[0]}{more}"
        )
    if lines:
        lines.insert(0, "Settings that would help (each was tried):")
    if document["unhelped"]:
        shown = document["unhelped"] if is_wide else document["unhelped"][:UNHELPED_MAX]
        rest = len(document["unhelped"]) - len(shown)
        more = f" and {rest} more (-o wide)" if rest else ""
        lines.append(f"No setting was found that helps with: {', '.join(shown)}{more}")
    return lines or ["No setting has to change."]


def _broken(document: dict[str, Any]) -> list[str]:
    if not document["broken_promises"]:
        return []
    lines = [
        "",
        "A PROMISE OF REPAVE BROKE. That is a mistake of repave, not of your spec: please report it, with",
        "the spec and what repave simulate -o json prints with the same options. That breaks it again.",
    ]
    return [*lines, *(f"  {each}" for each in document["broken_promises"][:REASONS_MAX])]


def _last(document: dict[str, Any]) -> str:
    if document["is_fine"]:
        return "Fine: whatever went wrong, the release came through or went back by itself."
    if not document["calm"]["is_fine"]:
        return "NOT FINE: even when nothing goes wrong it does not succeed; see the settings."
    return "NOT FINE: see what is in capitals above, or refused, and the settings."

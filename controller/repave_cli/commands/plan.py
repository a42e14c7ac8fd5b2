"""repave plan: what a release would do, by wave, step and region; what is destroyed comes last."""

import shlex
from collections.abc import Sequence
from typing import Any

from repave_cli.render import markdown
from repave_cli.render.output import show_whole, span
from repave_cli.render.progress import ways_in
from repave_cli.specs.arguments import add_keep_sizes, add_spec_arguments, given_files
from repave_cli.specs.packages import package_for
from repave_cli.specs.reading import read_outline
from repave_cli.transport.context import page
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import CHANGES, DONE, REFUSED
from repave_cli.transport.terminal import Terminal

KINDS_SHOWN_MAX = 4
"""Kinds of regions that get a column of their own; with more of them the table tells the sums."""
NAMES_WIDTH = 40
GUARDS_SHOWN_MAX = 8
TITLE_WIDTH = 76
UNPRICED_SHOWN_MAX = 4
WARNINGS_SHOWN_MAX = 4


def register(commands: Any) -> None:
    plan = commands.add_parser("plan", help="Show what a release would do; changes nothing")
    add_spec_arguments(plan)
    add_keep_sizes(plan)
    plan.add_argument("--exit-code", action="store_true", help="10 when there is something to do")
    plan.add_argument("--regions", action="store_true", help="a line for every region (as -o wide)")
    plan.set_defaults(run=run_plan)


def run_plan(terminal: Terminal) -> int:
    arguments = terminal.arguments
    spec, files = read_outline(terminal, given_files(arguments), arguments.version or "")
    package = package_for(terminal, spec, files[0], push=False)
    body = {"spec": spec.text, "filename": str(files[0]), "digest": package.digest}
    body |= {"version": arguments.version or ""}
    body |= {"keep_sizes": arguments.keep_sizes, "signature": package.signature}
    plan = terminal.client.post("plan", {**body, "will_push": not (arguments.sha256 or arguments.baked)})
    show_plan(terminal, plan, is_wide=arguments.regions)
    return CHANGES if arguments.exit_code else DONE


def show_plan(terminal: Terminal, plan: dict[str, Any], *, is_wide: bool = False) -> int:
    """Raises CliError where the release would be refused."""
    if terminal.format == "markdown":
        for line in plan_markdown(plan, _command(terminal.arguments, plan)):
            terminal.out(line)
    elif terminal.is_for_people:
        for line in plan_lines(plan, is_wide=is_wide or terminal.format == "wide"):
            terminal.out(line)
        if not plan["problems"]:
            link = page(terminal.arguments, f"/plan?id={plan['id']}")
            terminal.out(f"For others to look at: {link}")
            terminal.out(f"To run exactly this: {_command(terminal.arguments, plan)}")
    else:
        show_whole(terminal, plan)
    if plan["problems"]:
        raise CliError(f"it would be refused: {plan['problems'][0]}", REFUSED)
    return DONE


def _command(arguments: Any, plan: dict[str, Any]) -> str:
    words = ["repave", "release", "--plan", plan["id"]]
    words += ["--version", arguments.version] if arguments.version else []
    words += ["--sha256", arguments.sha256] if arguments.sha256 else []
    words += ["--baked", arguments.baked] if arguments.baked else []
    words += ["--signature", str(arguments.signature)] if arguments.signature else []
    words += ["--keep-sizes"] if arguments.keep_sizes else []
    for file in given_files(arguments):
        words += ["-f", str(file)]
    return shlex.join(words)


def plan_lines(plan: dict[str, Any], *, is_wide: bool = False) -> list[str]:
    """The plan as text."""
    return [
        _title(plan),
        *_waves(plan),
        *_steps(plan),
        *(_regions(plan) if is_wide else ()),
        *_labelled("signed", [f"with {plan['signer']}"] if plan["signer"] else []),
        *_labelled("floor", [_floor(plan)]),
        *_labelled("fronts", _fronts(plan)),
        *_labelled("scaling", _scaling(plan)),
        *_labelled("changes", plan["changes"]),
        *_labelled("secrets", list(map(_secret, plan["secrets"]))),
        *_labelled("jobs", list(map(_job, plan.get("jobs", ())))),
        *_labelled("hint", [plan["hint"]] if plan["hint"] else []),
        *_labelled("warning", _warnings(plan)),
        *_labelled("cost", _costs(plan)),
        *_labelled("guards", _guards(plan["guards"], is_wide)),
        _sum(plan),
    ]


def plan_markdown(plan: dict[str, Any], command: str) -> list[str]:
    """As a comment on a change, or a job's summary: the sum first, tables folded."""
    title, _, rest = _title(plan).partition("  ")
    heads, *steps = _step_rows(plan)
    against = [each for each in plan["guards"] if each["refuses"]]
    return [
        f"### repave plan: {markdown.code(title)}",
        "",
        markdown.escaped(rest),
        "",
        *(f"- **against it now:** {markdown.escaped(text)}" for text in plan["problems"]),
        *(f"- **against it now:** {markdown.escaped(_with_way(each))}" for each in against),
        *(f"- changes {markdown.escaped(text)}" for text in plan["changes"]),
        *(f"- **warning:** {markdown.escaped(text)}" for text in _warnings(plan)),
        "",
        f"**{markdown.escaped(_sum(plan))}**",
        "",
        "<details><summary>Steps and regions</summary>",
        "",
        *markdown.table(heads, ([*map(markdown.escaped, row)] for row in steps)),
        "",
        *(f"- {markdown.escaped(line.strip())}" for line in (*_waves(plan), _floor(plan))),
        "",
        "</details>",
        "",
        f"To run exactly this: {markdown.code(command)}",
    ]


def _title(plan: dict[str, Any]) -> str:
    way = f"{plan['origin']} -> {plan['group']}" if plan["origin"] else f"{plan['group']} (the first)"
    count, waves = len(plan["regions"]), len(plan["waves"])
    where = f"{count} region{'s' * (count > 1)}" + (f" in {waves} waves" if waves > 1 else "")
    title = f"{plan['application']}  {way}  {plan['version']}  {plan['strategy']}, {where}"
    return f"{title:<{TITLE_WIDTH}}    plan {plan['id']}, good while nothing changes"


# --------------------------------------------------------------------------------------------------- waves


def _waves(plan: dict[str, Any]) -> list[str]:
    """A line each, where there is more to say than that all regions go together."""
    waves = plan["waves"]
    if len(waves) == 1 and not _manners(waves[0]):
        return []
    hosts = {region["name"]: region["creates"] for region in plan["regions"]}
    lines = []
    for number, wave in enumerate(waves, start=1):
        names = _clipped(wave["regions"])
        made = f"{sum(hosts[name] for name in wave['regions'])} hosts"
        lines.append(f"  wave {number}  {names:<{NAMES_WIDTH}} {made:>10}   {_manners(wave)}".rstrip())
    return lines


def _manners(wave: dict[str, Any]) -> str:
    """How its regions go, and what comes before and after."""
    found = []
    if wave["approve"] is not None:
        gate = f"gate {wave['approve']}" if wave["approve"] else "a gate"
        seconds = wave["unless_objected_seconds"]
        found.append(f"{gate} unless objected for {span(seconds)}" if seconds else gate)
        found += [f"within {span(wave['expires_seconds'])}"] if wave["expires_seconds"] else []
    if wave["parallel"]:
        found.append(f"{wave['parallel']} at once")
    elif not wave["lockstep"] and len(wave["regions"]) > 1:
        found.append("all at once, each at its own pace")
    if wave["bake_seconds"]:
        found.append(f"then watched for {span(wave['bake_seconds'])}")
    return ", ".join(found)


def _clipped(names: Sequence[str]) -> str:
    text = " ".join(names)
    if len(text) <= NAMES_WIDTH:
        return text
    more = f" ... ({len(names)})"
    return text[: NAMES_WIDTH - len(more)].rsplit(" ", 1)[0] + more


# --------------------------------------------------------------------------------------------------- steps


def _steps(plan: dict[str, Any]) -> list[str]:
    return [f"  {line}" for line in _aligned(_step_rows(plan))]


def _step_rows(plan: dict[str, Any]) -> list[list[str]]:
    """Titles, then every step with the share of the traffic, and the hosts of both groups: a column for each
    kind of region, or their sum."""
    columns = _columns(plan)
    heads = [
        "STEP",
        "",
        "WORK" if plan.get("worker") else "TRAFFIC",
        *(title for title, _ in columns),
        "TIME",
        "",
    ]
    rows = [heads]
    for number, step in enumerate(plan["steps"]):
        share = max(region["moments"][number]["weight_bp"] for region in plan["regions"])
        seconds = max(region["moments"][number]["seconds"] for region in plan["regions"])
        cells = [_cell(regions, number) for _, regions in columns]
        text = step["text"].removeprefix(f"{step['kind']}: ")
        time = span(seconds) if seconds >= 1 else ""
        rows.append([str(number + 1), step["kind"], f"{share / 100:g} %", *cells, time, text])
    return rows


def _columns(plan: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """(title, regions) of each column: regions of the same course share one."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for region in plan["regions"]:
        course = repr([_hosts(each) for each in region["moments"]])
        kinds.setdefault(course, []).append(region)
    if len(kinds) > KINDS_SHOWN_MAX:
        return [("ALL REGIONS", plan["regions"])]
    return [(_kind(regions, len(kinds)), regions[:1]) for regions in kinds.values()]


def _kind(regions: list[dict[str, Any]], kinds: int) -> str:
    if len(regions) == 1:
        return str(regions[0]["name"]).upper()
    return "EACH REGION" if kinds == 1 else f"{len(regions)} REGIONS"


def _cell(regions: list[dict[str, Any]], number: int) -> str:
    moments = [region["moments"][number] for region in regions]
    new, old, baseline = (sum(each) for each in zip(*map(_hosts, moments), strict=True))
    shown = f"{new} new + {old} old" if old else f"{new} new"
    return f"{shown} + {baseline} baseline" if baseline else shown


def _hosts(moment: dict[str, Any]) -> tuple[int, int, int]:
    """New ones, old ones, those of a baseline."""
    return moment["new_hosts"], moment["old_hosts"], moment.get("baseline_hosts", 0)


def _regions(plan: dict[str, Any]) -> list[str]:
    """A line for every region: what it takes, then hosts (and share) after each step."""
    heads = ["REGION", "WAVE", "CREATES", "PEAK", "FLOOR", "KEEPS", "DESTROYS", "EXTRA", "COST"]
    heads += [f"{number}" for number in range(1, len(plan["steps"]) + 1)]
    rows = [heads]
    for region in plan["regions"]:
        cost = "-" if region["cost"] is None else f"{region['cost']:.2f}"
        row = [region["name"], region["wave"], region["creates"], region["peak"], region["floor"]]
        row += [region["keeps_warm"], region["destroys"], f"{region['extra_host_hours']:.1f} h", cost]
        row += [
            "+".join(map(str, hosts if hosts[2] else hosts[:2])) for hosts in map(_hosts, region["moments"])
        ]
        rows.append([str(cell) for cell in row])
    return [f"  {line}" for line in _aligned(rows)]


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


# ---------------------------------------------------------------------------------------- rules and the sum


def _labelled(name: str, lines: Sequence[str]) -> list[str]:
    return [f"  {name if number == 0 else '':<8} {line}" for number, line in enumerate(lines)]


def _fronts(plan: dict[str, Any]) -> list[str]:
    """Nothing of one of plain HTTP."""
    text = ways_in(plan)
    return [] if text.startswith("port ") else [text]


_WHEN = {"before": "before it", "after": "after it", "on_rollback": "only when it goes back"}


def _job(job: dict[str, Any]) -> str:
    """`migrate before it: ./migrate.sh, once, in oslo; at most 600 s, tried again 2 times`"""
    again = f", tried again {job['retries']} times" if job["retries"] else ""
    what = f"{job['name']} {_WHEN.get(job['moment'], job['moment'])}: {shlex.join(job['run'])}"
    return f"{what}, once, in {job['region']}; at most {span(job['timeout_seconds'])}{again}"


def _secret(secret: dict[str, Any]) -> str:
    return f"{secret['variable']} from {secret['source']} {secret['where']}"


def _floor(plan: dict[str, Any]) -> str:
    """How many hosts of each region serve, or work, at any time."""
    floors: dict[int, list[str]] = {}
    for region in plan["regions"]:
        floors.setdefault(region["floor"], []).append(region["name"])
    if len(floors) == 1:
        return f"never below {next(iter(floors))} hosts that {_does(plan)}, in each region"
    listed = "; ".join(f"{floor} in {_clipped(names)}" for floor, names in floors.items())
    return f"never below so many hosts that {_does(plan)}: {listed}"


def _does(plan: dict[str, Any]) -> str:
    return "work" if plan.get("worker") else "serve"


def _scaling(plan: dict[str, Any]) -> list[str]:
    """Within what the number of hosts is chosen, and with how many the release begins."""
    kinds: dict[tuple[str, int], list[str]] = {}
    for region in plan["regions"]:
        if region.get("scaling"):
            kinds.setdefault((region["scaling"], region["creates"]), []).append(region["name"])
    return [f"{_clipped(names)}: {text}; begins with {hosts}" for (text, hosts), names in kinds.items()]


def _warnings(plan: dict[str, Any]) -> list[str]:
    """What analyses will not see, and what to do about it."""
    told: list[str] = plan.get("warnings", [])
    if not told:
        return []
    more = [f"... and {len(told) - WARNINGS_SHOWN_MAX} more (-o json)"] * (len(told) > WARNINGS_SHOWN_MAX)
    return [
        *told[:WARNINGS_SHOWN_MAX],
        *more,
        "watch it for longer, or give the new group more traffic there",
    ]


def _guards(guards: list[dict[str, Any]], is_wide: bool) -> list[str]:
    """Those that stand against it now, each; of the others one a rule, unless all are wanted."""
    refusing = [each for each in guards if each["refuses"]]
    good = [each for each in guards if not each["refuses"]]
    lines = [f"AGAINST IT NOW: {each['rule']}: {_with_way(each)}" for each in refusing]
    if is_wide:
        return lines + [f"{each['rule']}: {each['text']}" for each in good]
    lines = lines[:GUARDS_SHOWN_MAX] + [f"... and {len(lines) - GUARDS_SHOWN_MAX} more"] * (
        len(lines) > GUARDS_SHOWN_MAX
    )
    rules: dict[str, list[str]] = {}
    for each in good:
        rules.setdefault(each["rule"], []).append(each["text"])
    for rule, texts in rules.items():
        more = f"; {len(texts) - 1} more as good (-o wide)" if len(texts) > 1 else ""
        lines.append(f"{rule}: {texts[0]}{more}")
    return lines


def _with_way(guard: dict[str, Any]) -> str:
    return f"{guard['text']}; {guard['remedy']['text']}" if guard["remedy"] else str(guard["text"])


_BACK = {
    "": ".",
    "switch": ": going back is one switch.",
    "grow": ": going back launches hosts first.",
    "build": ".",
}


def _sum(plan: dict[str, Any]) -> str:
    """The last line, which people read."""
    peak = f"Creates {plan['creates_hosts']} hosts, at most {plan['peak_hosts']} at once"
    is_more = plan["origin"] and plan["extra_host_hours"]  # a first release has nothing to compare with
    extra = f", {plan['extra_host_hours']:.4g} extra host-hours" if is_more else ""
    cost = f", {_cost(plan)}" if plan["cost"] is not None else ""
    is_gone = plan["back"] == "build" and plan["origin"] not in plan["keeps"]
    back = _BACK[plan["back"] if is_gone or plan["back"] != "build" else "grow"]
    keeps = f" Keeps {', '.join(plan['keeps'])} warm{back}" if plan["keeps"] else ""
    keeps += f" Nothing of {plan['origin']} is kept: going back builds it again." * is_gone
    time = f" Takes at least {span(plan['at_least_seconds'])}."
    gone = f" ({', '.join(plan['destroys'])})" if plan["destroys"] else ""
    ends = f" Destroys {plan['destroys_hosts']} hosts{gone}."
    return f"{peak}{extra}{cost}.{keeps}{time}{ends}{_failed(plan)}{_drained(plan)}"


def _drained(plan: dict[str, Any]) -> str:
    """Regions that take part, and get no traffic of the world."""
    stay = "stays" if len(plan["drained"]) == 1 else "stay"
    return f" {', '.join(plan['drained'])} {stay} out of DNS (drained)." if plan["drained"] else ""


def _failed(plan: dict[str, Any]) -> str:
    """Hosts that are only there to be looked at."""
    there = f" {', '.join(plan['failed'])} failed and is kept to be looked at." if plan["failed"] else ""
    seconds = plan["keep_failed_seconds"]
    return there + (f" If it fails its hosts are kept for {span(seconds)}." if seconds else "")


def _cost(plan: dict[str, Any]) -> str:
    """Of the extra hosts, as far as their regions have a price."""
    priced = sum(region["cost"] is not None for region in plan["regions"])
    there = len(plan["regions"])
    rest = "" if priced == there else f" (a price is known in {priced} of {there} regions)"
    return f"{plan['cost']:.2f} {plan['currency']}".rstrip() + rest


def _costs(plan: dict[str, Any]) -> list[str]:
    """What hosts cost an hour before, while and after, and of which there is no price."""
    lines = [_rates(each, plan) for each in plan["rates"]]
    if lines and plan["prices_as_of"]:
        lines[-1] += f"; prices of {plan['prices_as_of']}"
    unknown = plan["unpriced"]
    more = f"; {len(unknown) - UNPRICED_SHOWN_MAX} more" if len(unknown) > UNPRICED_SHOWN_MAX else ""
    return lines + ([f"unknown: {'; '.join(unknown[:UNPRICED_SHOWN_MAX])}{more}"] if unknown else [])


def _rates(rates: dict[str, Any], plan: dict[str, Any]) -> str:
    now, peak, kept, after = (rates[f"hourly_{name}"] for name in ("now", "peak", "kept", "after"))
    while_kept = f", {kept:.2f} while {', '.join(plan['keeps'])} is kept" if kept > after else ""
    return (
        f"{now:.2f} {rates['currency']} an hour now, at most {peak:.2f} while both groups run{while_kept}, "
        f"then {after:.2f}; in all {rates['extra']:.2f} more than going on as now, if each step takes its "
        "shortest time"
    )

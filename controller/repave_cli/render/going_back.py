"""The plan of a rollback as text: a line for each region, or for those that go the same way."""

from typing import Any

from repave_cli.render.output import span

REGIONS_SHOWN_MAX = 6


def rollback_plan_lines(plan: dict[str, Any]) -> list[str]:
    """The plan as text; the sum comes last."""
    if plan["turns_round"]:
        return [f"The release of {plan['turns_round']} is turned round: all traffic goes back to who served."]
    ways: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for region in plan["regions"]:
        key = (
            region["serving"],
            region["group"],
            region["how"],
            str(region["is_ill"]),
            str(region["is_away"]),
        )
        ways.setdefault(key, []).append(region)
    lines = [_way(regions, at_once=plan["now"]) for regions in ways.values()]
    staying: dict[str, list[str]] = {}
    for region, group in plan["stays"].items():
        staying.setdefault(group, []).append(region)
    lines += [f"{_listed(regions)}: stays with {group}" for group, regions in staying.items()]
    return [*lines, *_sum(plan)]


def _way(regions: list[dict[str, Any]], *, at_once: bool) -> str:
    first = regions[0]
    has, size = (sum(each[name] for each in regions) for name in ("has", "size"))
    switch_first = f"one switch, then it grows from {has} to {size} hosts"
    how = {
        "switch": f"one switch, {size} hosts are kept" if has == size else switch_first,
        "grow": switch_first
        if at_once
        else f"grows from {has} to {size} hosts, then the switch (--now: the switch first)",
        "build": f"built again, {size} hosts, then the switch",
    }[first["how"]]
    text = f"{_listed([each['name'] for each in regions])}: {first['serving']} ({first['serving_version']}) "
    text += f"-> {first['group']} ({first['version']}): {how}"
    if first["is_ill"]:
        healthy, serving = (sum(each[name] for each in regions) for name in ("healthy", "serving_healthy"))
        text += f"; TOO FEW HEALTHY: {healthy} of {has}, {serving} of {first['serving']}"
    return text + ("; away now, follows when it returns" if first["is_away"] else "")


def _sum(plan: dict[str, Any]) -> list[str]:
    if not plan["regions"]:
        return []
    seconds = plan["at_least_seconds"]
    lines = [f"Takes at least {span(seconds)}." if seconds else "Nothing is launched before the switch."]
    if seconds and plan["warm"]:
        warm = ", ".join(f"{name} ({version})" for name, version in plan["warm"].items())
        lines.append(f"Kept as well, with --to: {warm}")
    return lines


def _listed(names: list[str]) -> str:
    if len(names) <= REGIONS_SHOWN_MAX:
        return ", ".join(names)
    return f"{', '.join(names[:REGIONS_SHOWN_MAX])} and {len(names) - REGIONS_SHOWN_MAX} more"

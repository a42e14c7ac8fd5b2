"""What people read of the answer of a guard: its rule with the numbers, and what would satisfy it."""

from collections.abc import Mapping, Sequence

from repave_controller.core.domain.instants import Instant, show
from repave_controller.core.domain.reasons import Kind, Rule
from repave_controller.wording.phrases import Template, counted, percent, with_reason

APPLICATIONS_SHOWN_MAX = 3
WINDOWS_SHOWN_MAX = 3


# ------------------------------------------------------------------------------------------------- times


def _freeze_all(*_: str, by: str, at: Instant, reason: str) -> str:
    return with_reason(f"everything is frozen by {by or 'an operator'} since {show(at, 'UTC')}", reason)


def _freeze(
    *_: str, name: str, ends_at: Instant, zone: str, reason: str, opens_at: Instant | None, now: Instant
) -> str:
    named = f"freeze {name}" if name else "a freeze"
    text = f"{named} until {show(ends_at, zone)}" + (f" ({reason})" if reason else "")
    if opens_at is None:
        text += "; after it no window opens within a year"
    elif opens_at > ends_at:
        text += f"; it opens {show(opens_at, zone)}"
    return f"{text}; it is {show(now, zone)}"


def _window(*_: str, windows: Sequence[str], zone: str, opens_at: Instant | None, now: Instant) -> str:
    shown = ", ".join(windows[:WINDOWS_SHOWN_MAX])
    more = len(windows) - WINDOWS_SHOWN_MAX
    shown += f" and {more} more" if more > 0 else ""
    when = "no window opens within a year" if opens_at is None else f"it opens {show(opens_at, zone)}"
    return f"outside of {shown}; {when}; it is {show(now, zone)}"


# ------------------------------------------------------------------------------------------------ limits


def _limit_of_releases(limit: int, others: Sequence[str], **_: object) -> str:
    return f"{counted(len(others), 'other rollout')} under way ({_names(others)}), {limit} may be"


def _limit_of_regions(limit: int, others: Sequence[str], regions: int, together: int, **_: object) -> str:
    return (
        f"a rollout runs in {counted(regions, 'region')} ({_names(others)}), this one would make them "
        f"{together}, {limit} may be in flight"
    )


def _limit_of_hosts(
    limit: float, others: Sequence[str], theirs: int, wanted: int, share: float, hosts: int, **_: object
) -> str:
    return (
        f"{theirs} hosts of others are not proven yet or leave ({_names(others)}), with the {wanted} of this "
        f"one that is {share:.1f} % of {hosts}, {limit:g} % may be in flight"
    )


def _limit_of_extra_hosts(
    limit: int, others: Sequence[str], theirs: int, wanted: int, together: int, **_: object
) -> str:
    return (
        f"{counted(theirs, 'extra host')} of others ({_names(others)}), with the {wanted} of this one that "
        f"is {together}, {limit} may be there"
    )


def _within(setting: Rule) -> Template:
    """Waiting helps only when this one would fit in alone."""

    def text(others: Sequence[str], is_too_much_alone: bool, **_: object) -> str:
        if is_too_much_alone:
            return "it is too much also alone: release in smaller steps, or raise the controller's " + setting
        wait = f"wait for {_names(others)}" if others else "wait for the hosts that leave"
        return f"{wait}, or raise the controller's {setting}"

    return text


def _names(applications: Sequence[str]) -> str:
    if not applications:
        return "no rollout runs"
    more = len(applications) - APPLICATIONS_SHOWN_MAX
    shown = ", ".join(applications[:APPLICATIONS_SHOWN_MAX])
    return f"{shown} and {more} more" if more > 0 else shown


# ---------------------------------------------------------------------------------- balancers and regions


def _precision(region: str, below_bp: int, above_bp: int, weight_bp: int) -> str:
    nearest = f"{percent(below_bp)} or {percent(above_bp)}"
    return f"{region}: its balancer gives {nearest}, not {percent(weight_bp)}"


def _room(*_: str, region: str, hosts: int, why: str) -> str:
    return f"{region} needs {_more(hosts)} at its peak, and has no room: {why}"


def _room_unknown(region: str, hosts: int, error: str) -> str:
    return f"{region}: whether there is room for {_more(hosts)} is not known: {error}"


def _more(hosts: int) -> str:
    return "1 more host" if hosts == 1 else f"{hosts} more hosts"


def _unheard(target: str, known: Sequence[str]) -> str:
    has = f"has {', '.join(known)}" if known else "has none"
    return f"notify names {target}, which is told of nothing: [notify] of the controller's settings {has}"


TEXTS: Mapping[Kind, Template] = {
    Rule.FREEZE_ALL: _freeze_all,
    Rule.FREEZE: _freeze,
    Rule.WINDOW: _window,
    Rule.TIMES: "it may begin now",
    Rule.LIMIT_OF_RELEASES: _limit_of_releases,
    Rule.LIMIT_OF_REGIONS: _limit_of_regions,
    Rule.LIMIT_OF_HOSTS: _limit_of_hosts,
    Rule.LIMIT_OF_EXTRA_HOSTS: _limit_of_extra_hosts,
    Rule.CAPACITY: "{region}: {up} hosts of {group} can serve, the floor is {floor} of {size}",
    Rule.CAPACITY_UNKNOWN: "{absent}, so its hosts can't be counted",
    Rule.CAPACITY_FOR_SHARE: "{up} of {hosts} hosts of {group} can serve, {needed} must",
    Rule.CAPACITY_LEFT: "{left} hosts could serve once hosts of {group} have gone, the floor is {floor}",
    Rule.CAPACITY_OF_NONE: "no group served here before",
    Rule.TRAFFIC: "{group} serves with {up} healthy hosts, the floor is {floor}",
    Rule.TRAFFIC_UNKNOWN: "{group} serves there, and {absent}",
    Rule.TRAFFIC_TO_NONE: "no group serves there",
    Rule.TRAFFIC_PRECISION: _precision,
    Rule.TRAFFIC_SPLIT: "{region}: its balancer can't split by {by}: it would get no traffic there",
    Rule.REGION: "{region}: {absent}",
    Rule.ROOM: _room,
    Rule.ROOM_UNKNOWN: _room_unknown,
    Rule.MISFIT: "{region} can't make such hosts: {why}",
    Rule.NOTIFY: _unheard,
    Rule.ROOM_GIVEN: "{region}: {groups} make room, as the spec says: they end before it begins there",
}

_SHOWS_HOSTS = "{0} shows each host"

REMEDIES: Mapping[Kind, Template] = {
    Rule.LIMIT_OF_RELEASES: _within(Rule.LIMIT_OF_RELEASES),
    Rule.LIMIT_OF_REGIONS: _within(Rule.LIMIT_OF_REGIONS),
    Rule.LIMIT_OF_HOSTS: _within(Rule.LIMIT_OF_HOSTS),
    Rule.LIMIT_OF_EXTRA_HOSTS: _within(Rule.LIMIT_OF_EXTRA_HOSTS),
    Rule.CAPACITY_FOR_SHARE: _SHOWS_HOSTS,
    Rule.CAPACITY_LEFT: _SHOWS_HOSTS,
    Rule.TRAFFIC: _SHOWS_HOSTS,
    Rule.TRAFFIC_SPLIT: "leave out traffic.split, or use a balancer with HAProxy",
    Rule.NOTIFY: "correct notify in the spec, or add the target to the controller's settings",
    Rule.ROOM: lambda *commands, **_: (
        f"raise the quota or add machines{', or end a group that is kept: ' if commands else ''}"
        f"{', '.join(commands)}"
    ),
}

"""Writes the rules by which HAProxy tells requests apart: by chance, by a cookie or header, and testers.

`txn.roll`, 0 to 9,999, is what a request draws; the frontend gives those that draw less than the newer
group's basis points to it. Chance draws anew each time. A cookie or header draws by a hash of its value and
of the newer group's name (`txn.second`): the same draw in every region, after every reload and restart, so
that a growing share only adds people to the newer group; and other people are first at the next release.

Visitors without the cookie get one of ours, but only while there is a split to stick to. Responses that set
it are marked private: a shared cache that kept one would make a whole crowd one visitor.
"""

from typing import Literal

from repave_protos.protocol.values import FULL_WEIGHT_BP, Split

VISITOR_COOKIE = "repave-visitor"
"""Ours: a random name for a browser whose requests lack the application's cookie."""

_CHANCE = f"http-request set-var(txn.roll) rand({FULL_WEIGHT_BP})"
_DRAW = f"http-request set-var(txn.roll) var(txn.mark),concat(|,txn.second),xxh32,mod({FULL_WEIGHT_BP})"
_IF_MARKED = "{ var(txn.mark) -m len gt 0 }"
_IF_SHARED = "{ var(txn.route),field(3,|) -m int gt 0 }"
_IF_NEW = "{ var(txn.visitor) -m found }"


def split_rules(split: Split) -> list[str]:
    """Sets `txn.roll`. Needs `txn.route` and `txn.second`."""
    if split.by == "request":
        return [_CHANCE]
    rules = [_CHANCE, f"http-request set-var(txn.mark) {_value(split.by, split.name)}"]
    if split.by == "cookie":
        rules += _visitor_rules()
    return [*rules, f"{_DRAW} if {_IF_MARKED}"]


def _visitor_rules() -> list[str]:
    """A browser keeps the name until it is closed."""
    cookie = f"{VISITOR_COOKIE}=%[var(txn.visitor)]; Path=/; HttpOnly; SameSite=Lax"
    return [
        f"http-request set-var(txn.mark) {_value('cookie', VISITOR_COOKIE)} unless {_IF_MARKED}",
        f"http-request set-var(txn.visitor) uuid if {_IF_SHARED} !{_IF_MARKED}",
        f"http-request set-var(txn.mark) var(txn.visitor) if {_IF_NEW}",
        f'http-response add-header Set-Cookie "{cookie}" if {_IF_NEW}',
        f"http-response add-header Cache-Control private if {_IF_NEW}",
    ]


def baseline_rules() -> list[str]:
    """Changes `txn.chosen` to the sixth part of the route for those that draw highest, as many as the seventh
    says: as the newer group's share grows from below, people only leave the older one. Needs `txn.roll`.

    500 of 10,000: those that draw 9,500 and more.
    """
    beyond = f"var(txn.route),field(7,|),add(txn.roll),sub({FULL_WEIGHT_BP - 1})"
    return [
        f"http-request set-var(txn.beyond) {beyond}",
        "http-request set-var(txn.baseline) var(txn.route),field(6,|)",
        "http-request set-var(txn.chosen) var(txn.baseline) if { var(txn.beyond) -m int gt 0 }",
    ]


def tester_rules(split: Split, suffix: str, guard: str) -> list[str]:
    """Sends testers to the fourth part of the route, if it has one. `suffix`: of a front's backends. `guard`:
    what is so of its requests alone, where the frontend has those of others."""
    if not split.tester_by:
        return []
    mark = f"{_value(split.tester_by, split.tester_name)} -m str -- {split.tester_value}"
    is_tester = f"{{ {mark} }} {guard}" if guard else "is_tester"
    has_testers = "{ var(txn.testers) -m len gt 0 }"
    return [
        "http-request set-var(txn.testers) var(txn.route),field(4,|)",
        *([] if guard else [f"acl is_tester {mark}"]),
        f"use_backend %[var(txn.testers)]{suffix} if {is_tester} {has_testers}",
    ]


def _value(by: Literal["cookie", "header"], name: str) -> str:
    return f"req.cook({name})" if by == "cookie" else f"req.fhdr({name})"

"""Every kind of reason has a text, and each place that gives a reason gives the facts that its text needs."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

import repave_controller
from repave_cli.main import make_parser
from repave_controller.core.domain.reasons import (
    Clue,
    Concern,
    Forecast,
    Happening,
    Kind,
    Refusal,
    Refused,
    Remedy,
    Rule,
    Why,
    cli,
    reason_of,
)
from repave_controller.wording.phrases import Template
from repave_controller.wording.render import REMEDIES, TEXTS, command_of, remedy_of, text_of

CONTROLLER = Path(repave_controller.__file__).parent
KINDS: tuple[type[Kind], ...] = (Why, Rule, Refusal, Forecast, Happening, Concern, Clue)
NAMED = {f"{kind.__name__}.{each.name}": each for kind in KINDS for each in kind}


def calls(*names: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call of these functions in the controller, with its place."""
    for path in sorted(CONTROLLER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield f"{path.relative_to(CONTROLLER)}:{node.lineno}", node


def test_every_kind_has_a_text() -> None:
    for kind in KINDS:
        assert set(TEXTS[kind]) == set(kind)


def test_each_place_gives_the_facts_and_the_commands_that_the_text_needs() -> None:
    for place, call in calls("Refused", "reason_of"):
        kind = NAMED.get(ast.unparse(call.args[0]))
        if kind is None or any(each.arg is None for each in call.keywords):
            continue  # passed on
        given = {each.arg for each in call.keywords if each.arg is not None}
        is_open = any(isinstance(each, ast.Starred) for each in call.args)
        counts = range(4) if is_open else (len(call.args) - 1,)
        assert any(fits(TEXTS[type(kind)][kind], given, count) for count in counts), (place, kind)
        remedy = REMEDIES.get(type(kind), {}).get(kind)
        assert remedy is None or any(fits(remedy, given, count) for count in counts), (place, kind)


def fits(template: Template, facts: set[str], commands: int) -> bool:
    """Whether the text can be made of so many commands and these facts."""
    if isinstance(template, str):
        names = {name for _, name, _, _ in Formatter().parse(template) if name}
        return names <= facts | {str(number) for number in range(commands)}
    try:
        inspect.signature(template).bind(*[""] * commands, **dict.fromkeys(facts))
    except TypeError:
        return False
    return True


def test_every_command_that_is_named_is_one_of_the_cli() -> None:
    known = make_parser()
    found = {ast.literal_eval(call.args[0]) for _, call in calls("cli") if call.args}
    assert found
    for command in found:
        with pytest.raises(SystemExit) as ended:
            known.parse_args([*command.split(), "--help"])
        assert ended.value.code == 0, command


def test_no_command_is_spelled_in_the_core() -> None:
    spelled = [
        f"{path.name}: {node.value!r}"
        for path in sorted((CONTROLLER / "core").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and re.search(r"^repave |\brepave [a-z]+ ", str(node.value))
        if not is_docstring(path, node)
    ]
    assert spelled == []


def is_docstring(path: Path, node: ast.Constant) -> bool:
    return path.read_text().splitlines()[node.lineno - 1].lstrip().startswith('"""')


def test_a_command_is_spelled_with_its_arguments_and_options() -> None:
    assert command_of(cli("promote", "web", role="ops", skip=True, region="")) == (
        "repave promote web --role ops --skip"
    )
    assert cli("why") == Remedy("why")


def test_names_within_a_text_have_commas_between() -> None:
    reason = reason_of(Refusal.PORT_TAKEN, port=80, other="web", regions=("oslo", "paris"))
    assert text_of(reason) == "traffic.port: 80 is taken by web in oslo, paris; choose another port"


def test_the_rule_of_a_refusal_is_what_its_cases_have_in_common() -> None:
    rules = {Refused(kind).rule for kind in Refusal if kind.name.startswith("UNKNOWN_REGION")}
    assert rules == {"unknown-region"}


def test_reasons_read_back_from_a_store_are_of_the_same_kind() -> None:
    """What waits or stands against something has one name each: such reasons are stored by these."""
    assert not {str(each) for each in Why} & {str(each) for each in Rule}


def test_the_way_on_is_that_of_the_reason_within_where_it_has_none_of_its_own() -> None:
    away = reason_of(Why.AGENT_AWAY, cli("abort", "web"), region="oslo")
    guard = reason_of(Rule.CAPACITY_UNKNOWN, *away.remedies, absent=away)
    waiting = reason_of(Why.GUARD, *away.remedies, rule="capacity", answer=guard)
    assert text_of(waiting) == "guard capacity: its agent is not connected, so its hosts can't be counted"
    assert remedy_of(waiting) == "start or reconnect the agent of oslo; repave abort web gives up"

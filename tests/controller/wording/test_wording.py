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
from repave_controller.core.domain.reasons import Kind, Refusal, Refused, Remedy, cli, reason_of
from repave_controller.wording.render import TEXTS, Template, command_of, text_of

CONTROLLER = Path(repave_controller.__file__).parent
KINDS: tuple[type[Kind], ...] = (Refusal,)
NAMED = {f"{kind.__name__}.{each.name}": each for kind in KINDS for each in kind}


def calls(*names: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call of these functions in the controller, with its place."""
    for path in sorted(CONTROLLER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield f"{path.relative_to(CONTROLLER)}:{node.lineno}", node


def facts_needed(template: Template) -> set[str]:
    if isinstance(template, str):
        return {name for _, name, _, _ in Formatter().parse(template) if name and not name.isdigit()}
    positional = [*inspect.signature(template).parameters]
    return set(positional)


def test_every_kind_has_a_text() -> None:
    for kind in KINDS:
        assert set(TEXTS[kind]) == set(kind)


def test_each_place_gives_the_facts_and_the_commands_that_the_text_needs() -> None:
    for place, call in calls("Refused", "reason_of"):
        kind = NAMED.get(ast.unparse(call.args[0]))
        if kind is None:
            continue  # passed on
        template = TEXTS[type(kind)][kind]
        given = {each.arg for each in call.keywords}
        missing = facts_needed(template) - given
        commands = sum(not isinstance(each, ast.Starred) for each in call.args[1:])
        if isinstance(template, str):
            assert not missing, (place, kind, missing)
        else:
            assert len(missing) <= len(call.args) - 1, (place, kind, missing)
            assert given <= facts_needed(template), (place, kind)
        has_all = any(isinstance(each, ast.Starred) for each in call.args[1:])
        places = {
            int(name) for name in re.findall(r"\{(\d)\}", template if isinstance(template, str) else "")
        }
        assert has_all or max(places, default=-1) < commands, (place, kind)


def test_every_command_that_is_named_is_one_of_the_cli() -> None:
    known = make_parser()
    found = {ast.literal_eval(call.args[0]) for _, call in calls("cli") if call.args}
    assert found
    for command in found:
        with pytest.raises(SystemExit) as ended:
            known.parse_args([*command.split(), "--help"])
        assert ended.value.code == 0, command


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

"""What looks found as a table, with both sides of each metric as a line of bars."""

import pytest

from repave_cli.commands.analysis import analysis_lines, run_replay, run_show
from repave_cli.main import make_parser

ERRORS = {
    "name": "errors",
    "kind": "rate",
    "text": "errors: 10 % of 40 against 0 % of 400: clearly worse",
    "baseline_series": {"values": [], "events": [0.0, 0.0, 0.0], "trials": [200.0, 200.0, 0.0]},
    "canary_series": {"values": [], "events": [0.0, 4.0, None], "trials": [20.0, 20.0, None]},
}
LATENCY = {
    "name": "latency",
    "kind": "value",
    "text": "latency: 0.1 against 0.2",
    "baseline_series": {"values": [0.1, 0.2], "events": [], "trials": []},
    "canary_series": None,
}


def a_look(judged: int, outcome: str, **more: object) -> dict[str, object]:
    return {
        "gate": "step 1.3",
        "region": "",
        "look": judged,
        "judged": judged,
        "count": 10,
        "at": "2026-01-01T00:00:00Z",
        "outcome": outcome,
        "score": 100.0,
        "text": f"{outcome}: so",
        "metrics": [ERRORS, LATENCY],
        **more,
    }


def test_each_look_is_a_line_and_the_last_has_its_metrics() -> None:
    items = [a_look(1, "pass"), a_look(2, "fail", score=None)]
    lines = analysis_lines({"application": "shop", "rollout": 7, "items": items})
    assert lines[0] == "shop, rollout 7"
    table = lines[1].splitlines()
    assert [line.split()[:4] for line in table[1:]] == [
        ["step", "1.3", "all", "1/10"],
        ["step", "1.3", "all", "2/10"],
    ]
    assert "100" in table[1]
    assert lines[2:] == [
        "",
        "step 1.3: look 2",
        "  errors: 10 % of 40 against 0 % of 400: clearly worse",
        "    old ▁▁ ",
        "    new ▁█ ",
        "  latency: 0.1 against 0.2",
        "    old ▅█",
        "    new ",
    ]


def test_without_a_look_there_is_nothing() -> None:
    assert analysis_lines({"application": "shop", "rollout": 0, "items": []}) == []


def test_without_a_number_there_is_no_chart() -> None:
    silent = {"values": [], "events": [0.0, None], "trials": [0.0, None]}
    metric = {**ERRORS, "baseline_series": silent, "canary_series": silent}
    items = [a_look(1, "inconclusive", metrics=[metric])]
    assert analysis_lines({"application": "shop", "rollout": 7, "items": items})[-1] == f"  {ERRORS['text']}"


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        (["shop"], run_show),
        (["shop", "7"], run_show),
        (["show", "shop"], run_show),
        (["replay", "shop", "--pass", "90"], run_replay),
    ],
)
def test_an_application_alone_is_shown(words: list[str], verb: object) -> None:
    arguments = make_parser(["analysis"]).parse_args(["analysis", *words])
    assert (arguments.run, arguments.app) == (verb, "shop")

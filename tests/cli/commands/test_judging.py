"""analysis judge: what it reads, what it says, how it ends. No controller is asked."""

import pytest

from tests.fakes.controller.command_line import SPEC, CommandLine

NO_CONTROLLER = ("--url", "http://127.0.0.1:9")
BASE = "time,latency,errors.events,errors.trials\n" + "".join(
    f"{k},{100 + k % 5},0,1000\n" for k in range(20)
)
GOOD = "latency,errors.events,errors.trials\n" + "".join(f"{101 + k % 4},0,100\n" for k in range(20))
BAD = "latency,errors.events,errors.trials\n" + "".join(f"{100 + k % 5},{k % 3},100\n" for k in range(20))


@pytest.fixture
def judge(run: CommandLine) -> CommandLine:
    (run.folder / "base.csv").write_text(BASE)
    (run.folder / "good.csv").write_text(GOOD)
    (run.folder / "bad.csv").write_text(BAD)
    return run


def asked(*options: str, baseline: str = "base.csv", canary: str = "bad.csv") -> tuple[str, ...]:
    return ("analysis", "judge", *NO_CONTROLLER, "--baseline", baseline, "--canary", canary, *options)


def test_a_bad_canary_ends_with_1_and_says_why_with_a_chart(judge: CommandLine) -> None:
    ran = judge(*asked())
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert lines[0] == "fail: score 50 is below 75: errors is worse"
    assert [line.split()[:2] for line in lines[3:5]] == [["latency", "pass"], ["errors", "high"]]
    assert any(line.startswith("errors: 0.95 % of 2,000 against 0 % of 20,000, ") for line in lines)
    assert "  canary    ▁▅█▁▅█▁▅█▁▅█▁▅█▁▅█▁▅" in lines
    assert "  baseline  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁" in lines
    assert max(map(len, lines)) <= 130


def test_a_good_canary_ends_with_0_and_one_that_nothing_is_known_of_with_8(judge: CommandLine) -> None:
    assert judge(*asked(canary="good.csv")).code == 0
    (judge.folder / "few.json").write_text(
        '{"latency": [100, null, 101], "errors": {"events": [0], "trials": [9]}}'
    )
    ran = judge(*asked(canary="few.json"))
    assert ran.code == 8
    assert "3 samples" not in ran.out
    assert "2 samples against 20 are too few; 5 of each are needed" in ran.out


def test_every_format_has_it(judge: CommandLine) -> None:
    document = judge(*asked("-o", "json")).json
    assert (document["outcome"], document["decisive"]) == ("fail", ["errors"])
    errors = document["items"][1]
    assert (errors["name"], errors["kind"], errors["verdict"], errors["rule"]) == (
        "errors",
        "rate",
        "high",
        "clearly-bad",
    )
    assert errors["canary"]["steps"][:3] == [0.0, 0.01, 0.02]
    assert judge(*asked("-o", "name")).out.split() == ["latency", "errors"]
    assert judge(*asked("-o", "jsonl")).out.count("\n") == 2
    assert "outcome: fail" in judge(*asked("-o", "yaml")).out
    assert judge(*asked("-o", "markdown")).out.startswith("| METRIC | VERDICT |")
    assert "clearly-bad" in judge(*asked("-o", "wide")).out


def test_options_change_how_it_is_judged(judge: CommandLine) -> None:
    assert judge(*asked("--direction", "decrease")).code == 0
    assert judge(*asked("--pass", "50", "--marginal", "50")).code == 0
    assert judge(*asked("--critical", "errors", "-o", "json")).json["grounds"] == "critical"
    assert judge(*asked("--judge", "kayenta-v1", "-o", "json")).json["items"][1]["rule"] == "within"


def test_a_gap_is_left_out_or_zero(judge: CommandLine) -> None:
    (judge.folder / "none.csv").write_text("shares\n" + "NaN\n" * 10)
    gaps = ("", "0.048", "", "0.18", "0.089", "", "0.098", "0.035", "", "")
    (judge.folder / "some.csv").write_text("shares\n" + "\n".join(gaps) + "\n")
    files = {"baseline": "none.csv", "canary": "some.csv"}
    left_out = judge(*asked(**files))
    assert left_out.code == 8
    assert "write missing: zero if none means 0" in left_out.out
    assert judge(*asked("--missing", "zero", **files)).code == 1
    assert judge(*asked("--missing", "zero", "--judge", "kayenta-v1", **files)).code == 0


def test_a_spec_says_how_and_metrics_are_found_by_name(judge: CommandLine) -> None:
    section = (
        "analysis:\n  metrics:\n    - {name: errors, critical: true}\n    - {name: latency, muted: true}\n"
    )
    (judge.folder / "repave.yaml").write_text(SPEC + section)
    document = judge(*asked("-f", "repave.yaml", "-o", "json")).json
    assert (document["grounds"], document["decisive"]) == ("critical", ["errors"])
    assert [item["is_muted"] for item in document["items"]] == [True, False]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty"),
        (
            "latency\n100\nfast\n",
            'bad.csv:3: latency: "fast" is no number; leave it empty where there is none',
        ),
        ("latency\n1,2\n", "bad.csv:2: 2 cells, but 1 columns have a name"),
        ("a,a\n1,2\n", "bad.csv:1: the column a is there twice"),
        ("errors.trials\n1\n", "errors.trials without errors.events"),
        ("e,e.events\n1,2\n", "e and e.events: a metric has values, or events"),
        ("time\n1\n", "no metric"),
        ("[1, 2]", "an object of metrics is expected"),
        ('{"latency": 5}', "latency: a list of numbers is expected"),
        ('{"latency": [true]}', "latency[0]: true is no number"),
        ('{"e": {"events": [1], "trials": [1, 2]}}', "e: 1 events and 2 trials"),
        ('{"e": {"count": [1]}}', "e.count: values, or events and trials, are known"),
        ('{"latency": [1', "no JSON"),
        ("latency.events\n1\n", "latency is a value in base.csv and a count in bad.csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_with_its_place(
    judge: CommandLine, content: str, said: str
) -> None:
    (judge.folder / "bad.csv").write_text(content)
    ran = judge(*asked())
    assert ran.code == 2
    assert said in ran.err


def test_a_file_that_is_not_there_and_words_that_mean_nothing(judge: CommandLine) -> None:
    assert "gone.csv: No such file" in judge(*asked(canary="gone.csv")).err
    assert judge(*asked("--pass", "101")).code == 2
    assert judge(*asked("--false-alarms", "5")).code == 2
    ran = judge(*asked("--pass", "50", "--marginal", "80"))
    assert (ran.code, "marginal_score 80 is above pass_score 50" in ran.err) == (2, True)
    assert "no file has the metric load" in judge(*asked("--critical", "load")).err

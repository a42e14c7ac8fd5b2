"""A wrong spec is refused with file, line, column, field and fix, all of its problems at once."""

import json
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repave_controller.spec.loader import SPEC_BYTES_MAX, SpecError, find_spec, load, load_files
from repave_controller.spec.yaml_text import tab_reader
from tests.controller.spec import wrong_analyses
from tests.controller.spec.wrong_specs import BAD, GOOD
from tests.fakes.controller.specs import EVERY_OPTION, SMALLEST


def refusal(text: str | bytes, *overrides: tuple[str, str]) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load(text, "repave.yaml", overrides)
    return str(caught.value).splitlines()


def test_a_good_spec_comes_back_with_its_exact_text() -> None:
    for text in (GOOD, SMALLEST, EVERY_OPTION, GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD):
        assert load(text, "repave.yaml")[1] == text
    assert load(GOOD.encode(), "repave.yaml")[1] == GOOD


@pytest.mark.parametrize("name", wrong_analyses.BAD)
def test_each_problem_of_an_analysis_has_its_place_its_field_and_a_way_out(name: str) -> None:
    options, column, said = wrong_analyses.BAD[name]
    problems = refusal(wrong_analyses.GOOD.replace("OPTIONS", options))
    assert problems == [f"repave.yaml:{wrong_analyses.LINE}:{column}: {wrong_analyses.FIELD}{said}"]


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_spec_is_refused_at_its_place_with_the_way_out(name: str) -> None:
    before, after, expected = BAD[name]
    assert before in GOOD
    problems = refusal(GOOD.replace(before, after, 1))
    assert problems == [f"repave.yaml:{each}" for each in expected]


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    text = (
        GOOD.replace("app: hello", "app: Hello").replace("traffic:", "trafic:").replace("size: 3", "sise: 3")
    )
    assert refusal(text) == [
        "repave.yaml:1:1: traffic: is missing; add it: {port: 8000} says where clients connect; traffic: "
        "none makes it a worker, without requests",
        "repave.yaml:2:6: app: 'Hello' can't be the name of an app: 1 to 32 of a-z and 0-9, with single "
        "- inside; write hello",
        "repave.yaml:11:3: trafic: unknown option; did you mean traffic?",
        "repave.yaml:13:5: regions.0.size: is missing; add it",
        "repave.yaml:13:25: regions.0.sise: unknown option; did you mean size?",
    ]


def test_a_rule_over_two_sections_points_at_the_later_one() -> None:
    text = (
        GOOD.replace("{port: 8080}", "{port: 8080}\n  ready_percent: 90%") + "guards: {min_capacity: 95%}\n"
    )
    assert refusal(text)[0].startswith("repave.yaml:17:24: guards.min_capacity: ")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "repave.yaml:1:1: the file is empty; repave init writes one to begin with"),
        (b"# nothing\n", "repave.yaml:1:1: the file is empty; repave init writes one to begin with"),
        (b"- a\n", "repave.yaml:1:1: must be a mapping of options; begin with repave: 1 and app: NAME"),
        (b"a: 1\nb: \xff\n", "repave.yaml:2:1: is not valid UTF-8; save the file as UTF-8"),
        (b"a: *b", "repave.yaml:1:4: found undefined alias 'b'; name it with & before it is used"),
        (b"a: [" * 60_000, "repave.yaml:1:41: is nested deeper than 20 levels"),
        (b"a: &a [*a]", "repave.yaml:1:4: is nested deeper than 20 levels"),
    ],
)
def test_what_is_no_spec_at_all_is_refused_clearly(content: bytes, expected: str) -> None:
    assert refusal(content) == [expected]


def test_what_is_never_closed_is_told_where_it_begins() -> None:
    with pytest.raises(SpecError) as caught:
        load(GOOD.replace("app: hello", 'app: "hello'), "repave.yaml")
    assert "look at what begins on line 2, column 6" in str(caught.value)


def test_a_command_may_go_on_in_the_next_line() -> None:
    run = "run: |\n    ./serve \\\n      --fast 'two\n    lines'\n"
    spec = load(GOOD.replace("run: ./serve", run), "repave.yaml")[0]
    assert spec.host.run == ("./serve", "--fast", "two\nlines")


def test_a_lone_surrogate_of_a_json_body_is_refused() -> None:
    assert refusal("app: \ud800") == ["repave.yaml:1:1: is not valid UTF-8; save the file as UTF-8"]


def test_a_bomb_of_aliases_is_refused_before_it_goes_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 15)]
    (problem,) = refusal("\n".join(lines))
    assert "more than 100,000 values, aliases expanded" in problem


@pytest.mark.parametrize("inside", ["", "1: x, 2: y", "k: v", "{}: x"])
def test_a_bomb_of_merge_keys_is_refused_before_it_goes_off(inside: str) -> None:
    """Each level says ten times what the one below says; 13 are well within the depth that is read."""
    lines = [f"x-a0: &a0 {{{inside}}}"]
    lines += [f"x-a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 14)]
    (problem,) = refusal("\n".join([*lines, "host: {<<: *a13}"]))
    assert "more than 100,000 values, aliases expanded" in problem


def test_an_honest_alias_is_fine() -> None:
    text = GOOD.replace("image: local", "image: &here local").replace("size: 3}", "size: 3, provider: *here}")
    assert load(text, "repave.yaml")[0].regions[0].provider == "local"


def test_too_large_a_file_is_refused_unread() -> None:
    (problem,) = refusal("a" * (SPEC_BYTES_MAX + 1))
    assert problem.startswith("repave.yaml: the file has 1,048,577 bytes, at most 1,048,576 are read")


@given(st.text(max_size=60) | st.binary(max_size=60) | st.text(":- \n[]{}&*!|>%@#ab1\"'?,", max_size=40))
@settings(deadline=None)
def test_whatever_is_written_is_a_spec_or_a_spec_error_with_a_place(content: str | bytes) -> None:
    with pytest.raises(SpecError) as caught:
        load(content, "repave.yaml")
    assert caught.value.problems
    assert all(each.file == "repave.yaml" and each.message for each in caught.value.problems)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_a_good_spec_with_some_character_changed_never_crashes(data: st.DataObject) -> None:
    text = EVERY_OPTION
    at = data.draw(st.integers(0, len(text) - 1))
    text = text[:at] + data.draw(st.sampled_from(list("\n\t:{}[]-&*0Aa'\"#% \u00e9"))) + text[at + 1 :]
    try:
        load(text, "repave.yaml")
    except SpecError as error:
        problems = error.problems
    else:
        return
    assert all(1 <= each.line <= text.count("\n") + 1 for each in problems)


# ------------------------------------------------------------------------------------------ several files


def test_an_overlay_merges_mappings_and_replaces_lists() -> None:
    over = textwrap.dedent("""\
        stack: prod
        health: {interval: 5s}
        regions: [{name: oslo, size: 7}]
        host: {env: {ANSWER: "yes", NUMBER: "1"}}
        """)
    spec, text = load(GOOD, "repave.yaml", [("prod.yaml", over)])
    assert spec.cluster == "hello-prod"
    assert spec.health.interval == 5
    assert spec.health.http is not None
    assert [(region.name, region.hosts) for region in spec.regions] == [("oslo", 7)]
    assert spec.host.run == ("./serve",)
    assert load(text, "merged.yaml") == (spec, text)


def test_problems_of_merged_files_name_the_file_that_has_them() -> None:
    over = "regions: [{name: oslo, size: none}]\nhealth:\n  launch_deadline: 5s\n"
    assert refusal(GOOD.replace("port: 8000", "port: 0"), ("prod.yaml", over)) == [
        "prod.yaml:1:30: regions.0.size: must be a whole number; write it without quotes and units",
        "prod.yaml:3:20: health.launch_deadline: min_healthy_time must be shorter than launch_deadline",
        "repave.yaml:11:9: traffic.port: must be at least 1",
    ]


def test_files_are_read_and_named_in_errors(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text("stack: PROD\n")
    assert load_files([tmp_path / "a.yaml"])[1] == GOOD
    with pytest.raises(SpecError, match=r"b\.yaml:1:8: stack: "):
        load_files([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    with pytest.raises(SpecError, match=r"c\.yaml: can't be read: No such file"):
        load_files([tmp_path / "c.yaml"])


def test_the_spec_is_searched_upwards_to_the_git_root(tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "a" / "b"
    folder.mkdir(parents=True)
    (tmp_path / "repave.yaml").touch()
    (tmp_path / "repository" / ".git").mkdir()
    with pytest.raises(SpecError, match=r"repave\.yaml: is neither in .* nor above it; repave init"):
        find_spec(folder)
    (tmp_path / "repository" / "repave.yaml").touch()
    assert find_spec(folder) == tmp_path / "repository" / "repave.yaml"
    (folder / "repave.yaml").touch()
    assert find_spec(folder) == folder / "repave.yaml"


BALANCERS_TEXT = {
    "/a b": "' ' (U+0020) must be percent-encoded: write %20",
    '/a"b': "'\"' must be percent-encoded: write %22",
    "/a'b": '"\'" must be percent-encoded: write %27',
    "/a#b": "'#' must be percent-encoded: write %23",
    "/$HOME": "'$' must be percent-encoded: write %24",
    "/a\\b": r"'\\' must be percent-encoded: write %5C",
    "/a\nb": r"'\n' (U+000A) must be percent-encoded: write %0A",
    "/a\tb": r"'\t' (U+0009) must be percent-encoded: write %09",
    "/{a}": "'{' must be percent-encoded: write %7B",
    "/[a]": "'[' must be percent-encoded: write %5B",
    "/é": r"'\xe9' (U+00E9) must be percent-encoded: write %C3%A9",
    "/a\u202eb": r"'\u202e' (U+202E) must be percent-encoded: write %E2%80%AE",
    "/" + "a" * 1024: "has 1025 characters, at most 1024 can be asked for",
    "": "must begin with / and hold no spaces: write a path such as /health",
}


@pytest.mark.parametrize("path", BALANCERS_TEXT)
def test_a_path_that_a_balancer_could_misread_is_refused_with_what_to_write(path: str) -> None:
    asking = GOOD.replace("{port: 8080}", "{port: 8080, path: " + json.dumps(path) + "}")
    assert refusal(asking) == [f"repave.yaml:9:28: health.http.path: {BALANCERS_TEXT[path]}"]


ANCHORS = """\
x-common: &common
  image: local
  anything: [1.5, ~, !!str 7]
x-env: &env {COLOUR: blue, SIZE: large}
repave: 1
app: hello
artifact: {uri: ./app}
host:
  <<: [{run: ./serve}, {run: ./other, image: never}]
  image: local
  env: {<<: *env, SIZE: small}
health: {http: {port: 8080}}
traffic: {port: 8000}
regions:
  - &region {name: paris, size: 3}
  - {<<: *region, name: oslo}
strategy: {blue_green: {}}
"""


def test_anchors_and_merge_keys_work_and_a_place_for_anchors_is_ignored() -> None:
    spec, text = load(ANCHORS, "repave.yaml")
    assert (spec.host.run, spec.host.image, spec.host.env) == (
        ("./serve",),
        "local",
        {"COLOUR": "blue", "SIZE": "small"},
    )
    assert [(each.name, each.hosts) for each in spec.regions] == [("paris", 3), ("oslo", 3)]
    assert text == ANCHORS
    merged = load(ANCHORS, "repave.yaml", [("more.yaml", "x-more: 1\nowner: me\n")])[1]
    assert load(merged, "merged.yaml")[0].host == spec.host
    assert "x-" not in merged


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ANCHORS.replace("x-env:", "X-env:"), "unknown option"),
        (ANCHORS.replace("  image: local\n  env", "  x-own: 1\n  env"), "host.x-own: unknown option"),
        (ANCHORS.replace("{<<: *region, name: oslo}", "{<<: *region}"), "paris is there twice"),
        (ANCHORS.replace("{COLOUR: blue,", "{COLOUR: blue, COLOUR: red,"), "is there twice"),
        ("a: &a {<<: *a}\n", "nested deeper than"),
    ],
)
def test_what_anchors_can_not_do_is_refused(text: str, problem: str) -> None:
    assert problem in "\n".join(refusal(text))


TABS = (
    GOOD.replace("app: hello", "app: hello\t# the name\t!"),
    GOOD.replace("app: hello", "app:\thello \t "),
    GOOD.replace("app: hello", "app: 'hello'\t"),
    GOOD.replace("host:", "\t# a comment\n\t\nhost:\t#x"),
    GOOD.replace("{name: paris, size: 3}", "{\n\tname:\tparis,\n\t\tsize: 3\t}"),
    GOOD.replace("  - {name", "  -\t{name"),
    GOOD.replace("  run: ./serve", "  run: >-\t# folded\n    ./serve"),
    GOOD.replace("  run: ./serve", "  run: |2-\t# as it is\n    ./serve"),
    GOOD + "# \u00a0 a no-break space in a comment\n",
    "---\t# first\n" + GOOD,
)


@pytest.mark.parametrize("text", TABS)
def test_tabs_may_separate_wherever_yaml_lets_them(text: str) -> None:
    assert load(text, "repave.yaml")[0] == load(GOOD, "repave.yaml")[0]


def test_tabs_and_no_break_spaces_within_text_stay_what_they_are() -> None:
    text = GOOD.replace("run: ./serve", 'run: ["./a\tb", a\tb, x\u00a0y]\n  env: {A: "\u00a0", B: c\td}')
    host = load(text, "repave.yaml")[0].host
    assert host.run == ("./a\tb", "a\tb", "x\u00a0y")
    assert host.env == {"A": "\u00a0", "B": "c\td"}


@pytest.mark.parametrize(
    ("old", "new", "place", "named"),
    [
        (
            "app: hello",
            "app:\u00a0hello",
            "2:1: is not YAML",
            "U+00A0 NO-BREAK SPACE at column 5, which is no space",
        ),
        (
            "  port: 8000",
            "\u00a0 port: 8000",
            "11:9: ",
            "U+00A0 NO-BREAK SPACE at column 1, which is no space",
        ),
        (
            "app: hello",
            "app: \u201chello\u201d",
            "2:6: app: ",
            "U+201C LEFT DOUBLE QUOTATION MARK at column 6, which",
        ),
        (
            "  port: 8000",
            "  po\u200brt: 8000",
            "11:",
            "U+200B ZERO WIDTH SPACE at column 5, which can't be seen",
        ),
        (
            "app: hello",
            "app\uff1a hello",
            "2:1: is not YAML",
            "U+FF1A FULLWIDTH COLON at column 4, which is no :",
        ),
        ("size: 3", "size: \u22123", "13:25: ", "U+2212 MINUS SIGN at column 25, which is no -"),
    ],
)
def test_a_character_that_only_looks_right_is_named_with_its_code_point_and_place(
    old: str, new: str, place: str, named: str
) -> None:
    told = [line for line in refusal(GOOD.replace(old, new)) if line.startswith(f"repave.yaml:{place}")]
    assert any(f"the line holds {named}" in line for line in told), told


@pytest.mark.parametrize("text", [GOOD.replace("  run", "\trun"), GOOD.replace("  run", "  \trun: 1\n  run")])
def test_a_tab_never_indents(text: str) -> None:
    assert "a tab can't indent; indent with spaces" in refusal(text)[0]


def test_the_scanner_reads_plain_text_as_ruamel_does_where_there_are_no_tabs() -> None:
    from ruamel.yaml import YAML

    def read_by(scanner: type | None, text: str) -> object:
        yaml = YAML(typ="safe", pure=True)
        if scanner is not None:
            yaml.Scanner = scanner
        return yaml.load(text)

    for text in (
        *(GOOD, SMALLEST, EVERY_OPTION, "a: b\n  c\n\n\n  d # e\nf: g\n", "a: [b\nc, d]"),
        *("- a\n-  b\n- - c\n  - d\n", "a: |\n x\n  y\n\nb: >-  # c\n z\n", "a: |+2\n  x\n\n"),
        *("'a b': \"c\\\n  d\"\n", "a:\n# x\n  b\n"),
    ):
        assert read_by(tab_reader(), text) == read_by(None, text)

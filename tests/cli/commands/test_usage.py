"""What every command keeps to: wrong words are refused by the command that got them, and standard output
holds one clean answer for programs, whatever happens."""

import json
import shlex

import pytest
from ruamel.yaml import YAML

from tests.fakes.controller.command_line import SPEC, CommandLine

WRONG = {
    "status --waitt": "repave status: unknown argument --waitt; did you mean --wait?; repave status --help",
    "freeze add --too x --to y": "repave freeze add: unknown argument --too; did you mean --to?",
    "release --qqq": "repave release: unknown argument --qqq; repave release --help shows what there is",
    "hosts a b": "repave hosts: unknown argument b",
    "hosts --logs many": "argument --logs: 'many' is no whole number; write for example 3",
    "init --size -1": "repave init: argument --size: '-1' is no whole number",
    "pool": "repave pool: the following arguments are required: VERB",
    "sttus": "repave: there is no command sttus; did you mean status?",
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_words_are_refused_by_the_command_that_got_them(run: CommandLine, words: str) -> None:
    ran = run(*shlex.split(words))
    assert (ran.code, ran.out) == (2, "")
    assert WRONG[words] in ran.err


@pytest.mark.parametrize("before", [["-o", "json"], ["-ojson"], ["--output=json"], ["--output", "json"]])
@pytest.mark.parametrize("words", WRONG)
def test_wrong_words_are_a_problem_too(run: CommandLine, before: list[str], words: str) -> None:
    ran = run(*before, *shlex.split(words))
    assert ran.code == 2
    assert ran.json["detail"] in ran.err


ONE_DOCUMENT = (
    "version", "context list", "status", "status hello", "why hello", "history hello", "apps", "groups",
    "hosts", "regions", "events", "events --limit 1", "freeze list", "ages", "orphans", "image list",
    "controllers", "pool list", "doctor", "queue list", "queue list hello", "validate", "plan",
    "plan refused.yaml",
    "release --dry-run", "release refused.yaml --dry-run", "rollback hello --dry-run",
    "release --timeout 0s --version 9", "status nothere", "validate nothere.yaml", "delete hello",
)  # fmt: skip


@pytest.fixture
def released(repave: CommandLine) -> CommandLine:
    """With a spec that a controller refuses."""
    assert repave.release("v1").code == 0
    (repave.folder / "refused.yaml").write_text(SPEC.replace("port: 8000", "port: 8001"))
    return repave


def test_programs_get_one_document_whatever_happens(released: CommandLine) -> None:
    for words in map(shlex.split, ONE_DOCUMENT):
        exact = released(*words, "-o", "json")
        assert isinstance(json.loads(exact.out), dict), words
        lines = released(*words, "-o", "jsonl").out.splitlines()
        assert all(isinstance(json.loads(line), dict) for line in lines), words
        names = released(*words, "-o", "name").out
        assert not {"None", "{"} & set(names.split()), words
    for command in ("version", "validate", "events", "status nothere"):
        text = released(*command.split(), "-o", "yaml").out
        assert isinstance(YAML(typ="safe").load(text), dict), command


def test_the_queues_of_all_applications_are_one_list(released: CommandLine) -> None:
    assert released("queue", "list").err == "no release waits\n"
    assert released("queue", "list", "-o", "json").json == {"items": []}


def test_what_the_disk_refuses_is_said_with_its_file(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run.folder / "file").write_text("")
    monkeypatch.setenv("REPAVE_CONFIG", str(run.folder / "file" / "config.toml"))
    ran = run("context", "set", "a", "http://127.0.0.1:1")
    assert ran.code in (1, 2)
    assert str(run.folder / "file") in ran.err
    assert "Traceback" not in ran.err

"""What every command keeps to: wrong words are refused by the command that got them, and standard output
holds one clean answer for programs, whatever happens."""

import json
import shlex

import pytest
from ruamel.yaml import YAML

from repave_cli.commands.help import below_of, texts
from repave_cli.main import make_parser
from repave_cli.render.meaning import LOOKS, OF_OTHERS, is_slip, meant
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


# ------------------------------------------------------------------------------------------- what was meant

MEANT = {
    "deploy": "release", "undo": "rollback", "ls": "apps", "ps": "hosts", "restart": "renew",
    "remove": "delete, groups retire or regions remove", "drain": "regions drain", "log": "logs or events",
    "relese": "release", "rlease": "release", "rollbak": "rollback", "hsots": "hosts", "stat": "status",
    "queue delete": "queue drop", "queue ls": "queue list", "tokens remove": "tokens revoke",
    "freeze delete": "unfreeze", "roles add": "roles grant", "context add": "context set",
    "image lst": "image list", "help relese": "release",
}  # fmt: skip
ENDS = (
    "delete", "destroy", "remove", "rm", "kill", "terminate", "purge", "wipe", "erase", "drop", "uninstall",
    "cancel", "end", "stop", "halt", "disable", "shutdown", "down", "delte", "delet", "deleet", "elease",
)  # fmt: skip
MAKES = {"release", "renew", "promote", "scale", "resume", "unfreeze", "retry", "init", "dev"}


@pytest.mark.parametrize("words", MEANT)
def test_for_a_wrong_word_the_right_one_is_shown(run: CommandLine, words: str) -> None:
    ran = run(*words.split())
    assert (ran.code, ran.out) == (2, "")
    assert f"there is no command {words.split()[-1]}; did you mean {MEANT[words]}?" in ran.err


def test_what_is_offered_is_there() -> None:
    parser = make_parser()
    for below, words in OF_OTHERS.items():
        for found in words.values():
            for each in found.replace(" or ", ", ").split(", "):
                at = parser
                for word in each.split():
                    if not word.startswith("-") and (there := below_of(at)) is not None:
                        at = there.choices[word]
        assert not below or below.split()[0] in texts(parser)
    everywhere = {word for word in LOOKS if word not in ("list", "baked", "verify", "export", "trusts")}
    assert everywhere <= set(texts(parser))


def test_a_word_that_ends_something_is_never_told_of_one_that_makes_something() -> None:
    known = list(texts(make_parser()))
    for word in ENDS:
        offered = meant("", word, known)
        assert not MAKES & set(offered.replace(",", "").split()) or is_slip(word, offered), (word, offered)
    assert meant("", "delete", [name for name in known if name != "delete"]) == "delete"
    assert "release" not in meant("", "deletee", known)


def test_what_changes_something_is_offered_for_one_slip_and_not_for_likeness() -> None:
    known = list(texts(make_parser()))
    letters = "abcdefghijklmnopqrstuvwxyz-"
    for name in known:
        for place in range(len(name)):
            for wrong in (
                name[:place] + name[place + 1 :],
                name[:place] + name[place : place + 2][::-1] + name[place + 2 :],
                *(name[:place] + letter + name[place:] for letter in letters[:3]),
            ):
                offered = meant("", wrong, known)
                if wrong not in known and offered and offered not in OF_OTHERS[""].values():
                    assert offered in LOOKS or is_slip(wrong, offered), (wrong, offered)
    assert meant("", "released-now", known) == ""


def test_help_is_there_in_every_way_one_asks_for_it(run: CommandLine) -> None:
    whole = run("help")
    assert run().out == run("--help").out == run("-h").out == whole.out
    assert whole.code == run().code == 0
    for name, text in texts(make_parser()).items():
        assert f"\n  {name} " in whole.out
        assert text
    assert max(map(len, whole.out.splitlines())) <= 88
    assert run("help", "queue", "drop").out == run("queue", "drop", "--help").out
    assert run("help", "help").code == 0
    assert {"name", "usage", "help"} <= set(run("help", "release", "-o", "json").json)
    assert run("help", "nonsense").code == 2
    assert run("--version").out.startswith("repave 0.")
    ran = run("queue")
    assert ran.code == 2
    assert "required: VERB (list, drop, move, resume)" in ran.err

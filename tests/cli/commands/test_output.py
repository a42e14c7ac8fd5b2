"""Every command in every format of -o, run against a controller: JSON and YAML are one document, JSON lines
are documents, names are what a further command takes, and all tell what the text tells. A command that has no
row here fails."""

import argparse
import io
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from repave_cli.commands import bake
from repave_cli.main import make_parser
from repave_controller.settings import OidcSettings
from repave_protos.protocol.queries import (
    ChangeMachine,
    Done,
    FindHosts,
    FoundHost,
    FoundHosts,
    ListMachines,
    Machines,
)
from repave_protos.protocol.values import GivenHost, RegionName
from tests.cli.commands.test_agents import join
from tests.cli.commands.test_pool import MACHINE, Cloud
from tests.fakes.agent.orphans import an_orphan
from tests.fakes.controller.command_line import SPEC, CommandLine, Ran, build
from tests.fakes.controller.scheduler import ServedController, served
from tests.fakes.issuer import Issuer, an_issuer

FORMATS = ("table", "wide", "json", "jsonl", "yaml", "name", "markdown")
KEPT = SPEC + "rollback: {keep: {for: 24h, groups: 3}}\n"
CANARY = KEPT.replace("{blue_green: {warm: 0s}}", "{canary: {steps: [{traffic: 50%, hold: 1h}]}}")
FOREGROUND = {"dev": "runs until Ctrl-C; tests/e2e starts it"}


@dataclass
class Stage:
    """What commands are run on."""

    run: CommandLine
    controller: ServedController
    patch: pytest.MonkeyPatch

    def asked(self, *words: str) -> Any:
        return self.run(*words, "-o", "json").json

    def spec(self, text: str, version: str) -> None:
        (self.run.folder / "repave.yaml").write_text(text)
        build(self.run.folder, version)

    def type(self, text: str) -> None:
        self.patch.setattr("sys.stdin", io.StringIO(f"{text}\n"))


def _write(path: Path, text: str) -> None:
    path.write_text(text)


@dataclass(frozen=True)
class Row:
    """A command, what its text and its document must tell, how it may end, and what is done before it."""

    words: str
    tells: str = ""
    code: int = 0
    before: Callable[[Stage], object] = lambda stage: None
    values: Callable[[Stage], Sequence[str]] = lambda stage: ()  # for the {} in `words`


def without_records(stage: Stage) -> None:
    stage.controller.sessions.keeps_records = False
    assert stage.run("scale", "hello", "paris=2").code == 0


def second_admin(stage: Stage) -> str:
    """An admin without a token could log in no more."""
    stage.run("roles", "grant", "bob", "admin")
    return str(stage.asked("tokens", "create", "bob")["token"])


def a_fleet(stage: Stage) -> None:
    """What runs in paris before any release, and an agent that can look at it."""
    sessions = stage.controller.sessions
    view = sessions.known[RegionName("paris")]
    view.hello = replace(view.hello, capabilities=(*view.hello.capabilities, "adopts"))
    sessions.tells["paris", FindHosts] = FoundHosts((FoundHost(GivenHost("10.0.0.1", 8080)),))


def spec(text: str, version: str) -> Callable[[Stage], None]:
    return lambda stage: stage.spec(text, version)


ROWS = (
    Row("init --name shop --run ./serve", "repave.yaml", before=lambda stage: Path("repave.yaml").unlink()),
    Row("validate", "hello", before=spec(KEPT, "v1")),
    Row("schema", "strategy"),
    Row("help", "release"),
    Row("help queue drop", "queue drop"),
    Row("completion bash", "repave"),
    Row("version", "0."),
    Row("doctor", "python"),
    Row("context set here {}", "here", values=lambda stage: [stage.controller.url]),
    Row("context list", "here"),
    Row("context use here", "here"),
    Row("adopt --hosts paris=10.0.0.1:8080 --dry-run", "10.0.0.1", before=a_fleet),
    Row("plan", "hello-v001"),
    Row("simulate --from-scratch --faults none --hosts 1", "paris"),
    Row("image push app"),
    Row("image list"),
    Row("image bake app --region paris", "app-"),
    Row("image baked", "app-"),
    Row("release --version 1", "hello-v001"),
    Row("watch hello", "hello-v001"),
    Row("status", "hello"),
    Row("status hello", "hello-v001"),
    Row("status hello --wait", "hello-v001"),
    Row("why hello", "hello"),
    Row("history hello", "hello-v001"),
    Row("spec hello", "app: hello"),
    Row("apps", "hello"),
    Row("groups", "hello-v001"),
    Row("groups hello", "hello-v001"),
    Row("hosts", "hello-v001-1"),
    Row("hosts hello --logs 2", "hello-v001-1"),
    Row("host hello-v001-1 --region paris", "hello-v001-1"),
    Row("regions", "paris"),
    Row("events", "hello-v001"),
    Row("events hello --limit 1", "hello"),
    Row("logs hello"),
    Row("ages", "hello-v001"),
    Row("taint hello-v001-1 --region paris", "hello-v001-1"),
    Row("renew hello", "hello-v001"),
    Row("orphans", "ghost-v001-1"),
    Row("pool list", "m1"),
    Row("pool quarantine paris m1", "m1"),
    Row("pool return paris m1", "m1"),
    Row("pool release paris m1", "m1"),
    Row("controllers"),
    Row("traffic hello"),
    Row("analysis show hello"),
    Row("analysis replay hello 1 --pass 90", code=2),
    Row("suspects hello"),
    Row("suspects --region paris"),
    Row(
        "analysis judge --baseline both.csv --canary both.csv",
        "latency",
        before=lambda stage: _write(stage.run.folder / "both.csv", "latency\n" + "100\n101\n" * 9),
    ),
    Row("gitops status"),
    Row("gitops plan repave.yaml", "hello"),
    Row("promotions list"),
    Row("promotions approve hello", code=5),
    Row("promotions dismiss hello", code=5),
    Row("hooks list"),
    Row("hooks deliveries"),
    Row("hooks redeliver ci d1", code=2),
    Row("notify list"),
    Row("notify replay shop --from 1", code=2),
    Row("notify test shop", code=2),
    Row("freeze add --to 2999-01-01 --reason fair", "F1"),
    Row("freeze list", "fair"),
    Row("freeze lift F1", "F1"),
    Row("freeze add --to 2999-01-01", "F2"),
    Row("unfreeze F2", "F2"),
    Row("freeze --all --reason fire", "fire"),
    Row("unfreeze --all"),
    Row("stop --reason fire", "fire"),
    Row("go"),
    Row("release --version 2 --dry-run", "hello-v002", before=spec(KEPT, "v2")),
    Row("release --version 2", "hello-v002"),
    Row("rollback hello --dry-run", "hello-v001"),
    Row("rollback hello", "hello-v001"),
    Row("groups retire hello hello-v002", "hello-v002"),
    Row("release --version 3 --detach", "hello-v003", before=spec(CANARY, "v3")),
    Row("pause hello", "hello-v003"),
    Row("resume hello", "hello-v003"),
    Row("object hello", code=5),
    Row("retry hello", code=5),
    Row("step-back hello", "hello-v003", before=lambda stage: stage.run("resume", "hello")),
    Row("promote hello --full", code=5),
    Row("resume hello", "hello-v003"),
    Row("scale hello paris=3", "paris"),
    Row("release --version 4 --queue", "hello", before=spec(KEPT, "v4")),
    Row("jobs list hello", ""),
    Row("jobs settle hello migrate again", code=5),
    Row("queue list", "hello"),
    Row("queue list hello", "4"),
    Row("queue move hello 1 last", "hello"),
    Row("queue drop hello 1", "hello"),
    Row("queue resume hello", code=5),
    Row("promote hello --full", "hello-v003"),
    Row("status hello --wait", "hello-v003"),
    Row("release --version 5 --detach", "hello-v004", before=spec(CANARY, "v5")),
    Row("abort hello --region oslo", "oslo"),
    Row("abort hello", "hello-v004"),
    Row("regions drain paris hello", "paris"),
    Row("regions undrain paris", "paris"),
    Row("regions leave paris hello --yes", "paris", before=without_records),
    Row("regions take-over paris", "paris"),
    Row("regions remove paris --yes", "paris"),
    Row("delete hello --yes", "hello"),
    Row("agents join rome", "repave-agent join"),
    Row(
        "agents list",
        "rome",
        before=lambda stage: join(stage.controller, stage.run("agents", "join", "rome").out),
    ),
    Row("agents revoke rome", "rome"),
    Row("agents rotate"),
    Row("controller recover --yes"),
)
WITH_ACCOUNTS = (
    Row("login --token", "admin", before=lambda stage: stage.type(stage.controller.admin)),
    Row("whoami", "admin"),
    Row("tokens create ci@shop --scope deployer:web-* --note nightly", "ci@shop"),
    Row("tokens list", "ci@shop"),
    Row(
        "tokens revoke {}",
        "ci@shop",
        values=lambda stage: [
            each["id"]
            for each in stage.asked("tokens", "list")["items"]
            if each["name"] == "ci@shop" and each["state"] == "active"
        ][:1],
    ),
    Row("tokens trust ci@web --issuer github --claim repository=acme/web", "ci@web"),
    Row("tokens trusts", "ci@web"),
    Row(
        "tokens distrust {}",
        "ci@web",
        values=lambda stage: [each["id"] for each in stage.asked("tokens", "trusts")["items"]][:1],
    ),
    Row("roles grant anna deployer", "anna"),
    Row("roles list", "anna"),
    Row("roles withdraw anna deployer", "anna"),
    Row("roles join web anna", "anna"),
    Row("roles leave web anna", "anna"),
    Row("people list"),
    Row("people end oidc:nobody", code=2),
    Row("audit list", "roles"),
    Row("audit verify", ":"),
    Row("audit export", "installation"),
    Row("logout", before=lambda stage: stage.type(second_admin(stage))),
)
EMPTY = (
    "apps", "status", "groups", "hosts", "events", "freeze list", "ages", "orphans", "pool list",
    "image list", "image baked", "queue list", "context list", "agents list",
)  # fmt: skip
"""Lists of a controller that knows nothing yet."""


def leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command that runs something."""
    if parser.get_default("run"):
        yield " ".join(words)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from leaves(below, (*words, name))


def test_every_command_has_a_row() -> None:
    rows = [f"{row.words} " for row in (*ROWS, *WITH_ACCOUNTS)]
    known = list(leaves(make_parser()))
    assert [each for each in known if not any(row.startswith(f"{each} ") for row in rows)] == list(FOREGROUND)


@pytest.mark.parametrize("form", FORMATS)
def test_every_command_answers_in_every_format(
    run: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(bake, "LOOK_SECONDS", 0.0)
    with served(tmp_path / "controller", is_enrolling=True) as controller:
        monkeypatch.setenv("REPAVE_URL", controller.url)
        sessions = controller.sessions
        sessions.keeps_records = True
        view = sessions.known[RegionName("paris")]
        view.hello = replace(view.hello, provider="ssh_pool")
        sessions.tells["paris", ListMachines] = Machines((MACHINE,))
        sessions.tells["paris", ChangeMachine] = Done("m1: it is done")
        sessions.unwanted["paris"] = [an_orphan(1)]
        Cloud(controller, "paris")
        check_all(Stage(run, controller, monkeypatch), ROWS, form)


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with an_issuer() as made:
        yield made


@pytest.mark.parametrize("form", FORMATS)
def test_every_command_about_accounts_answers_in_every_format(
    run: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, issuer: Issuer, form: str
) -> None:
    oidc = OidcSettings(issuer=issuer.url, client_id="repave-public", admins=("sre-oncall",))
    with served(tmp_path / "controller", has_accounts=True, oidc=oidc) as controller:
        monkeypatch.setenv("REPAVE_URL", controller.url)
        check_all(Stage(run, controller, monkeypatch), WITH_ACCOUNTS, form)


def check_all(stage: Stage, rows: Sequence[Row], form: str) -> None:
    wrong = []
    for row in rows:
        row.before(stage)
        words = row.words.format(*(*row.values(stage), "nothing"))
        ran = stage.run(*shlex.split(words), "-o", form)
        faults = list(faults_of(row, ran, form))
        if faults:
            wrong.append((words, form, ran.code, faults, ran.out[-300:], ran.err[-300:]))
    assert not wrong, "\n\n".join(map(str, wrong))


def faults_of(row: Row, ran: Ran, form: str) -> Iterator[str]:
    if ran.code != row.code:
        yield f"ends with {ran.code}, not {row.code}"
    if form in ("table", "wide", "markdown"):
        if not (ran.out + ran.err).strip():
            yield "says nothing"
        told = ran.out + ran.err
    elif form == "name":
        for line in ran.out.splitlines():
            if not line.strip() or line in ("None", "{", "[]", "null"):
                yield f"{line!r} is no name"
        told = row.tells
    else:
        try:
            documents = documents_of(ran.out, form)
        except ValueError as error:
            yield f"does not parse: {error}"
            return
        if not all(isinstance(each, dict) for each in documents):
            yield "is no document"
        told = json.dumps(documents, default=str)
    told = told.replace("\u200b", "")  # which keeps Markdown from calling people
    if row.tells not in told:
        yield f"does not tell of {row.tells}"


def documents_of(text: str, form: str) -> list[Any]:
    if form == "jsonl":
        return [json.loads(line) for line in text.splitlines()]
    if form == "json":
        return [json.loads(text)]
    return [YAML(typ="safe").load(text)]


def test_lists_without_items_are_lists_for_programs_and_a_sentence_for_people(
    run: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path / "controller", regions=(), is_enrolling=True) as controller:
        monkeypatch.setenv("REPAVE_URL", controller.url)
        for words in EMPTY:
            ran = run(*words.split(), "-o", "json")
            assert (ran.code, ran.json["items"], ran.err) == (0, [], ""), words
            assert YAML(typ="safe").load(run(*words.split(), "-o", "yaml").out)["items"] == [], words
            for form in ("jsonl", "name"):
                assert run(*words.split(), "-o", form).out == "", words
            ran = run(*words.split())
            assert (ran.code, ran.out) == (0, ""), words
            assert ran.err, words

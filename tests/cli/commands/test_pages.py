"""Lists come in pages: each is shown as it comes, nothing is left out without a word, and what programs get
is one document as before."""

import json
from typing import Any

import pytest

from repave_cli.commands import read
from tests.fakes.controller.api import fake_api
from tests.fakes.controller.command_line import CommandLine
from tests.fakes.controller.scheduler import ServedController


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HISTORY_PAGE", "HOSTS_PAGE", "EVENTS_PAGE"):
        monkeypatch.setattr(read, name, 1)


LISTS = ("history hello", "hosts", "hosts hello --region oslo", "hosts nothing", "events --since 0")


@pytest.mark.parametrize("form", ["table", "wide", "json", "jsonl", "yaml", "name", "markdown"])
def test_pages_make_the_list_that_is_not_in_pages(
    repave: CommandLine, controller: ServedController, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    for version in ("1.0", "2.0", "3.0"):
        assert repave.release(version).code == 0
    controller.connect("paris", False)
    for words in LISTS:
        if form == "name" and words.startswith("events"):
            continue
        whole = repave(*words.split(), "-o", form)
        with monkeypatch.context() as changed:
            for name in ("HISTORY_PAGE", "HOSTS_PAGE", "EVENTS_PAGE"):
                changed.setattr(read, name, 1)
            paged = repave(*words.split(), "-o", form)
        assert (paged.code, _cells(paged.out), paged.err) == (whole.code, _cells(whole.out), whole.err), words
        if form == "json" and whole.code != 2:
            assert json.dumps(json.loads(paged.out), indent=2) + "\n" == paged.out


def _cells(text: str) -> list[list[str]]:
    """Columns of a later page may be wider than those of the first."""
    return [line.split() for line in text.splitlines()]


def test_all_events_after_one_are_shown_not_the_first_fifty(repave: CommandLine) -> None:
    for version in ("1.0", "2.0", "3.0", "4.0", "5.0", "6.0", "7.0"):
        assert repave.release(version).code == 0
    every = repave("events", "--since", "0", "-o", "jsonl").out.splitlines()
    assert len(every) > 50
    assert repave("events", "--since", "0", "--limit", "7", "-o", "jsonl").out.splitlines() == every[:7]
    assert repave("events", "-o", "jsonl").out.splitlines() == every[-50:]


@pytest.mark.usefixtures("small_pages")
def test_a_controller_that_has_no_pages_gives_the_whole(run: CommandLine) -> None:
    problem = {"rule": "bad-request", "detail": "limit: /v1/hosts takes no query", "status": 400}
    with fake_api() as api:
        api.answers["GET", "hosts"] = [(400, problem), {"items": [], "unreachable": {}}]
        ran = run("hosts", "--url", api.url)
    assert (ran.code, ran.err) == (0, "no hosts\n")


def test_a_release_looks_at_no_more_than_the_newest_rollouts(
    repave: CommandLine, controller: ServedController
) -> None:
    asked: list[tuple[int, int | None]] = []
    rollouts = controller.store.rollouts

    async def counted(application: Any, limit: int = 50, before: int | None = None) -> Any:
        asked.append((limit, before))
        return await rollouts(application, limit, before)

    controller.store.rollouts = counted  # type: ignore[method-assign]
    for version in ("1.0", "2.0"):
        assert repave.release(version).code == 0
    assert asked
    assert all(limit <= 3 for limit, _ in asked)

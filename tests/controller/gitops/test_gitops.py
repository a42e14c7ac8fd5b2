"""Real git repositories, followed: what is pushed is released, and nothing else."""

import asyncio
import base64
import contextlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repave_controller.core.domain.application import Event
from repave_controller.core.ports import StoreError, Transaction
from repave_controller.gitops.deciding import Followed, Repository, Runs, drift, repository_of, text_of
from repave_controller.gitops.git import Git
from repave_controller.gitops.watching import GitOps
from repave_controller.operations.releasing import Deed
from repave_controller.settings import GitOpsSettings
from repave_simulation.tiers.shared_shelf import SharedShelf
from repave_simulation.tiers.shared_store import SharedMemoryStore
from tests.fakes.waiting import until, until_async

DIGEST = "d" * 64


class Repo:
    """A real one, as people push to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words: str) -> str:
        who = {
            f"GIT_{role}_{what}": "ann@example"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        kept = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", *words],
            cwd=self.folder,
            env=kept | who,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return done.stdout.strip()

    def push(self, *amend: str, **files: str | bytes | None) -> str:
        """A commit with these files of apps/; None: it is taken away."""
        (self.folder / "apps").mkdir(exist_ok=True)
        for name, content in files.items():
            path = self.folder / "apps" / f"{name}.yaml"
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "m", *amend)
        return self.git("rev-parse", "HEAD")


class Api:
    """Implements operations.releasing.Act: a spec is `app: NAME`, a wrong one is refused."""

    def __init__(self) -> None:
        self.asked: list[Deed] = []
        self.refusals: dict[str, tuple[int, str]] = {}  # status and rule by application, of releases
        self.hangs: set[str] = set()

    async def __call__(self, deed: Deed) -> tuple[int, dict[str, Any]]:
        self.asked.append(deed)
        if deed.application in self.hangs:
            await asyncio.Event().wait()
        if deed.path.endswith("/releases") and deed.application in self.refusals:
            status, rule = self.refusals[deed.application]
            return status, {"detail": f"{deed.application} can't be released", "rule": rule}
        if deed.path == "outline":
            assert deed.body is not None
            file = dict[str, Any](deed.body)["files"][0]
            name = file["text"].partition("app: ")[2].split("\n")[0]
            if not name:
                return 422, {"detail": f"{file['name']}:1: app is missing", "rule": "spec"}
            return 200, {"application": name, "uri": "./app", "sha256": DIGEST}
        if deed.path.endswith("/releases"):
            return 202, {"rollout": 1, "group": "web-v1", "is_queued": False, "is_joined": False}
        return 200, {"id": "p1", "problems": []}

    @property
    def keys(self) -> list[str]:
        return [each.key for each in self.asked if each.key]

    @property
    def released(self) -> list[tuple[str, str]]:
        bodies = [each.body for each in self.asked if each.path.endswith("/releases")]
        names = [each.application for each in self.asked if each.path.endswith("/releases")]
        return [(name, str(body["version"])) for name, body in zip(names, bodies, strict=True) if body]


class Peer:
    """One controller that follows the repository."""

    def __init__(self, repo: Repo, folder: Path, shelf: SharedShelf | None = None, **more: Any) -> None:
        given = {"repository": str(repo.folder), "apps": "*", **more}
        settings = {"main": GitOpsSettings.model_validate(given)}
        self.store = SharedMemoryStore(shelf or SharedShelf(), "ann")
        self.store._is_open = True
        self.now, self.noted = 1000.0, list[Event]()
        self.api, self.runs = Api(), dict[str, Runs]()
        self.gitops = GitOps(
            settings, folder, self.store, lambda: self.now, lambda _: True, self.noted.extend, self.runs.get
        )
        self.gitops.act_with(self.api)

    async def look(self) -> dict[str, Followed]:
        await self.gitops.look("main")
        return {each.path: each for each in (await self.gitops.known("main")).files}

    @property
    def kinds(self) -> list[str]:
        return [each.kind for each in self.noted]

    @property
    def saved(self) -> list[str]:
        """The kinds of events in the store."""
        return [each.kind for each in self.store.shelf.events]


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


@pytest.fixture
def peer(repo: Repo, tmp_path: Path) -> Peer:
    return Peer(repo, tmp_path / "kept")


async def test_what_is_pushed_is_released_once_for_each_change(repo: Repo, peer: Peer) -> None:
    repo.push(web="# version: 1.0\napp: web\n", shop="app: shop\n")
    files = await peer.look()
    assert {path: each.state for path, each in files.items()} == {
        "apps/shop.yaml": "done",
        "apps/web.yaml": "done",
    }
    assert [name for name, _ in peer.api.released] == ["shop", "web"]
    assert peer.api.released[1] == ("web", "1.0")
    repo.push(web="# version: 2.0\napp: web\n")
    await peer.look()
    await peer.look()
    assert peer.api.released[2:] == [("web", "2.0")]
    (principal,) = {each.principal for each in peer.api.asked if each.path == "applications/web/releases"}
    assert principal.name == "gitops/main"
    assert [each.applications for each in principal.grants] == ["web"]


async def test_a_broken_spec_holds_up_no_other_and_is_told_once(repo: Repo, peer: Peer) -> None:
    repo.push(a="apps: wrong\n", b="app: b\n", c=b"\xff\xfe", d="app: d\n")
    files = await peer.look()
    states = {path.removeprefix("apps/"): each.state for path, each in files.items()}
    assert states == {"a.yaml": "failed", "b.yaml": "done", "c.yaml": "failed", "d.yaml": "done"}
    assert "app is missing" in files["apps/a.yaml"].text
    await peer.look()
    assert peer.kinds == ["gitops.failed", "gitops.failed"]
    repo.push(a="app: a\n")
    assert (await peer.look())["apps/a.yaml"].state == "done"


async def test_a_file_that_is_gone_deletes_nothing_and_says_so(repo: Repo, peer: Peer) -> None:
    repo.push(web="app: web\n")
    await peer.look()
    repo.push(web=None, other="app: other\n")
    files = await peer.look()
    await peer.look()
    assert files["apps/web.yaml"].state == "deleted"
    assert "web goes on until: repave delete web" in files["apps/web.yaml"].text
    assert peer.kinds == ["gitops.deleted"]
    assert not [each for each in peer.api.asked if "delete" in each.path]
    repo.push(web="app: web\n")
    assert (await peer.look())["apps/web.yaml"].state == "done"


async def test_a_rewritten_history_is_followed_and_said(repo: Repo, peer: Peer) -> None:
    repo.push(web="# version: 1\napp: web\n")
    repo.push(web="# version: 2\napp: web\n")
    await peer.look()
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    repo.push(web="# version: 3\napp: web\n")
    await peer.look()
    assert peer.kinds == ["gitops.rewritten"]
    assert [version for _, version in peer.api.released] == ["2", "3"]


async def test_an_old_content_that_comes_back_is_released_again(repo: Repo, peer: Peer) -> None:
    for version in ("1", "2", "1"):
        repo.push(web=f"# version: {version}\napp: web\n")
        await peer.look()
    assert [version for _, version in peer.api.released] == ["1", "2", "1"]
    assert len(set(peer.api.keys)) == 3


async def test_a_controller_that_takes_over_asks_under_the_same_keys(repo: Repo, tmp_path: Path) -> None:
    repo.push(web="app: web\n")
    shelf = SharedShelf()
    first, second = Peer(repo, tmp_path / "a", shelf), Peer(repo, tmp_path / "b", shelf)
    await first.gitops.look("main")
    await second.gitops.look("main")
    assert second.api.released == []
    alone = Peer(repo, tmp_path / "c")
    await alone.look()
    assert [each.key for each in alone.api.asked if each.key] == [
        each.key for each in first.api.asked if each.key
    ]


@pytest.mark.parametrize(
    ("break_it", "text"),
    [
        (lambda repo: repo.git("branch", "--move", "main", "other"), "git fetch"),
        (lambda repo: repo.folder.rename(repo.folder.with_name("gone")), "git fetch"),
    ],
)
async def test_a_repository_that_can_not_be_had_is_told_once_and_forgets_nothing(
    break_it: Callable[[Repo], None], text: str, repo: Repo, peer: Peer
) -> None:
    repo.push(web="app: web\n")
    await peer.look()
    break_it(repo)
    files = await peer.look()
    await peer.look()
    assert files["apps/web.yaml"].state == "done"
    assert text in (await peer.gitops.known("main")).error
    assert peer.kinds == ["gitops.failed"]


async def test_only_its_own_applications_are_released(repo: Repo, tmp_path: Path) -> None:
    peer = Peer(repo, tmp_path / "kept", apps="web-*")
    repo.push(a="app: web-a\n", b="app: shop\n", c="app: web-a\n")
    files = await peer.look()
    assert [each.state for each in files.values()] == ["done", "failed", "failed"]
    assert "none of the repository's apps" in files["apps/b.yaml"].text
    assert "apps/a.yaml is of web-a, too" in files["apps/c.yaml"].text


async def test_links_are_not_followed_and_hooks_are_not_run(repo: Repo, peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("app: secret\n")
    (repo.folder / "apps").mkdir()
    (repo.folder / "apps" / "x.yaml").symlink_to(tmp_path / "secret.yaml")
    repo.push(web="app: web\n")
    files = await peer.look()
    assert "no plain file" in files["apps/x.yaml"].text
    assert [name for name, _ in peer.api.released] == ["web"]


async def test_a_plan_releases_nothing(repo: Repo, tmp_path: Path) -> None:
    peer = Peer(repo, tmp_path / "kept", policy="plan")
    repo.push(web="app: web\n")
    assert (await peer.look())["apps/web.yaml"].state == "planned"
    assert peer.api.released == []


@pytest.mark.parametrize(
    ("file", "runs", "state"),
    [
        (Followed("a", state="done", version="2", digest="d"), Runs("2", "d"), "in-step"),
        (Followed("a", state="done", version="2", digest="d"), Runs("1", "c"), "drifted"),
        (Followed("a", state="done", version="2", digest="d"), Runs("2", "c"), "drifted"),
        (Followed("a", state="done", version="2", digest="d"), Runs("1", "c", is_moving=True), "moving"),
        (Followed("a", state="done", version="2", digest="d"), None, "not-released"),
        (Followed("a", state="failed", text="x"), Runs("1", "c"), "failed"),
        (Followed("a", state="deleted"), Runs("1", "c"), "deleted"),
        (Followed("a", state="planned"), Runs("1", "c"), "not-released"),
    ],
)
def test_how_git_and_what_runs_differ(file: Followed, runs: Runs | None, state: str) -> None:
    assert drift(file, runs)[0] == state


def test_it_is_kept_as_it_is_and_a_newer_version_is_read() -> None:
    kept = Repository("c", 1.0, "e", (Followed("a", "web", "b"),))
    assert repository_of(text_of(kept)) == kept
    assert repository_of(json.dumps({**json.loads(text_of(kept)), "colour": "red"})) == kept


@pytest.mark.parametrize(
    "repository", ["--upload-pack=evil", "ext::sh -c evil", "http://plain.example/x", "a b", ""]
)
def test_what_is_no_address_of_a_repository_is_refused(repository: str) -> None:
    with pytest.raises(ValueError, match="repository"):
        GitOpsSettings.model_validate({"repository": repository, "apps": "*"})


async def test_git_that_hangs_is_ended(repo: Repo, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.push(web="app: web\n")
    monkeypatch.setattr("repave_controller.gitops.git.FETCH_SECONDS", 0.0)
    await peer.look()
    assert "took longer" in (await peer.gitops.known("main")).error
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("status", "rule"),
    [
        (503, "store"),
        (409, "artifact-not-found"),  # merged before the package was pushed
        (422, "unknown-region"),  # its agent has yet to join
        (403, "denied"),  # the settings change
        (409, "port-taken"),
    ],
)
async def test_what_was_refused_for_what_may_pass_is_tried_again_ever_later_under_one_key(
    status: int, rule: str, repo: Repo, peer: Peer
) -> None:
    repo.push(web="app: web\n")
    peer.api.refusals["web"] = status, rule
    tries = 0
    for waits, is_tried in ((0, 1), (14, 0), (1, 1), (29, 0), (1, 1), (60, 1), (120, 1)):
        peer.now += waits
        await peer.look()
        tries += is_tried
        assert len([each for each in peer.api.keys if "/web.yaml/" in each]) == tries, waits
        if tries == 2:
            repo.push(other="app: other\n")
    assert len({each for each in peer.api.keys if "/web.yaml/" in each}) == 1
    assert peer.kinds == ([] if status == 503 else ["gitops.failed"])
    peer.api.refusals.clear()
    peer.now += 3600.0
    assert (await peer.look())["apps/web.yaml"].state == "done"
    asked = len(peer.api.asked)
    peer.now += 3600.0
    await peer.look()
    assert len(peer.api.asked) == asked


async def test_a_mistake_in_a_file_is_not_tried_again_until_the_file_changes(repo: Repo, peer: Peer) -> None:
    repo.push(a="apps: wrong\n", c=b"\xff\xfe")
    await peer.look()
    asked = len(peer.api.asked)
    peer.now += 86_400.0
    await peer.look()
    assert len(peer.api.asked) == asked


async def test_one_release_that_hangs_holds_up_no_other_file(
    repo: Repo, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repave_controller.gitops.watching.FILE_SECONDS", 0.2)
    repo.push(a="app: a\n", b="app: b\n")
    peer.api.hangs.add("a")
    files = await peer.look()
    assert [each.state for each in files.values()] == ["waiting", "done"]
    assert "has taken longer" in files["apps/a.yaml"].text


async def test_a_fetch_that_hangs_holds_up_no_other_repository_and_leaves_no_process(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git's own helpers, such as ssh, keep its output open: they are ended with it."""
    repo.push(web="app: web\n")
    peer = Peer(repo, tmp_path / "kept")
    helper, pid = tmp_path / "ssh", tmp_path / "pid"
    helper.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {pid}.new\nmv {pid}.new {pid}\nwait\n")
    helper.chmod(0o755)
    away = GitOpsSettings.model_validate(
        {"repository": "ssh://git.example/fleet.git", "apps": "*", "every_seconds": 5}
    )
    both = {"away": away, "main": away.model_copy(update={"repository": str(repo.folder)})}
    gitops = GitOps(
        both, tmp_path / "both", peer.store, lambda: 1.0, lambda _: True, peer.noted.extend, peer.runs.get
    )
    gitops.act_with(peer.api)
    environment = Git._environment

    async def with_helper(self: Git) -> dict[str, str]:
        return {**await environment(self), "GIT_SSH": str(helper)}

    monkeypatch.setattr(Git, "_environment", with_helper)
    monkeypatch.setattr("repave_controller.gitops.git.FETCH_SECONDS", 2.0)
    running = asyncio.create_task(gitops.run())
    await until(lambda: peer.api.released and pid.exists())

    async def is_told() -> bool:
        return bool((await gitops.known("away")).error)

    await until_async(is_told)
    running.cancel()
    await asyncio.wait({running})
    assert "took longer" in (await gitops.known("away")).error
    await until(lambda: not Path(f"/proc/{int(pid.read_text())}").exists())


@pytest.mark.parametrize("lost", range(4))
async def test_a_store_that_fails_at_any_save_repeats_no_event_and_loses_none(
    lost: int, repo: Repo, peer: Peer
) -> None:
    repo.push(a="app: a\n", gone="app: gone\n")
    await peer.look()
    repo.push(a="apps: wrong\n", gone=None, b="apps: wrong\n")
    commits, commit = 0, peer.store.commit

    async def failing(transaction: Transaction) -> tuple[Event, ...]:
        nonlocal commits
        commits += 1
        if commits == lost + 1:
            raise StoreError("the disk is full")
        return await commit(transaction)

    peer.store.commit = failing  # type: ignore[method-assign]  # fails once
    for _ in range(2):
        with contextlib.suppress(StoreError):
            await peer.look()
    assert sorted(peer.saved) == ["gitops.deleted", "gitops.failed", "gitops.failed"]
    assert sorted(peer.kinds) == sorted(peer.saved)


async def test_a_look_at_what_has_not_changed_reads_no_file(
    repo: Repo, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.push(**{f"app-{number}": f"app: app-{number}\n" for number in range(20)})
    await peer.look()
    words, git = list[str](), Git._git

    async def counted(self: Git, seconds: float, *given: str) -> bytes:
        words.append(given[0])
        return await git(self, seconds, *given)

    monkeypatch.setattr(Git, "_git", counted)
    await peer.look()
    assert words == ["fetch", "rev-parse", "ls-tree", "merge-base"]


@pytest.mark.parametrize(
    ("given", "sent"), [("ghp_1", "x-access-token:ghp_1"), ("deploy-7:glpat_2\n", "deploy-7:glpat_2")]
)
async def test_a_token_is_sent_as_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, sent: str
) -> None:
    """GitHub refuses a bearer token for git."""
    programs, token = tmp_path / "bin", tmp_path / "token"
    programs.mkdir()
    (programs / "git").write_text('#!/bin/sh\necho "$GIT_CONFIG_KEY_0: $GIT_CONFIG_VALUE_0"\n')
    (programs / "git").chmod(0o755)
    token.write_text(given)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    settings = GitOpsSettings(repository="https://git.example/fleet.git", apps=("web",), token=token)
    told = await Git(settings, tmp_path / "clone").fetch()
    kind, _, encoded = told.removeprefix("http.extraHeader: Authorization: ").partition(" ")
    assert (kind, base64.b64decode(encoded).decode()) == ("Basic", sent)

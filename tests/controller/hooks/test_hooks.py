"""What comes is done once, in order, by one controller, whatever fails; with the API as a fake."""

import asyncio
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from repave_controller.core.domain.application import Event
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.ports import StoreError
from repave_controller.hooks import deliveries as kept
from repave_controller.hooks.deliveries import Delivery
from repave_controller.hooks.hooks import TRIES_MAX, CantVerify, Hooks
from repave_controller.hooks.verification import Arrived
from repave_controller.operations.releasing import Deed
from repave_controller.security.outbound import Form, IssuerError
from repave_controller.security.standard_webhooks import NotSigned
from repave_controller.settings import HookSettings
from repave_simulation.tiers.shared_shelf import SharedShelf
from repave_simulation.tiers.shared_store import SharedMemoryStore
from tests.controller.hooks.senders import NOW, PAYLOADS, SECRET, TRAVIS_PEM, arrived, signed
from tests.fakes.virtual_time import in_virtual_time

DIGEST = "d" * 64


@dataclass
class Api:
    """Implements operations.releasing.Act. `troubles` are what the next POSTs of a release come to."""

    troubles: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    asked: list[Deed] = field(default_factory=list)
    uri: str = "https://artifacts.example/{version}.tar.gz"
    polls: int = 2

    async def __call__(self, deed: Deed) -> tuple[int, dict[str, Any]]:
        self.asked.append(deed)
        match deed.path.rpartition("/")[2]:
            case "outline":
                return 200, {"application": "web", "uri": self.uri, "sha256": ""}
            case "plan":
                return 200, {"id": "p1", "problems": []}
            case "releases":
                if self.troubles:
                    return self.troubles.pop(0)
                number = len(self.releases)
                return 202, {
                    "rollout": number,
                    "group": f"web-v{number}",
                    "is_queued": False,
                    "is_joined": False,
                }
        self.polls -= 1
        return 200, {"id": "f1", "is_stored": self.polls < 0, "digest": DIGEST}

    @property
    def releases(self) -> list[Deed]:
        return [each for each in self.asked if each.path.endswith("/releases")]


class Issuer:
    """Implements outbound.Outbound: the API of Travis."""

    def __init__(self, key: str = TRAVIS_PEM) -> None:
        self.key, self.asked = key, 0

    async def get(self, url: str, token: str = "") -> Mapping[str, Any]:
        self.asked += 1
        if not self.key:
            raise IssuerError(f"{url} can't be asked")
        return {"config": {"notifications": {"webhook": {"public_key": self.key}}}}

    async def post(self, url: str, form: Form) -> tuple[int, Mapping[str, Any]]:
        raise AssertionError("nothing is posted")


class Peer:
    """One controller's hooks, on a store that several share."""

    def __init__(self, shelf: SharedShelf, folder: Path, name: str = "ann", **more: Any) -> None:
        self.store = SharedMemoryStore(shelf, name)
        self.store._is_open = True
        secret = folder / "secret"
        secret.write_text(f"{SECRET}\n")
        sender = more.pop("sender", "generic")
        given = {"from": sender, "secret": None if sender == "travis" else secret, "application": "web"}
        self.settings = {"ci": HookSettings.model_validate({**given, **more})}
        self.is_mine, self.noted, self.api, self.issuer = True, list[Event](), Api(), Issuer()
        self.spec: str | None = "the spec"
        loop = asyncio.get_running_loop()
        self.hooks = Hooks(
            self.settings,
            self.store,
            lambda: NOW + loop.time(),
            lambda _: self.is_mine,
            self.noted.extend,
            self._spec_of,
            self.issuer,
        )
        self.hooks.act_with(self.api)
        self.heard = 0
        self.task = asyncio.create_task(self.hooks.run())

    async def _spec_of(self, application: str) -> str | None:
        return self.spec

    async def hear(self) -> None:
        changes = await self.store.changes(self.heard)
        self.heard = changes.until
        self.hooks.take_in([each for each in changes.records if each.kind == kept.KIND])

    async def take(self, id: str = "d-1", **changes: Any) -> tuple[Delivery, bool]:
        now = NOW + asyncio.get_running_loop().time()
        return await self.hooks.take("ci", arrived("generic build", id=id, now=now, **changes))

    async def state(self, number: int = 0) -> Delivery:
        return (await self.hooks.deliveries.all())[number]

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})


async def settle(seconds: float = 10.0) -> None:
    await asyncio.sleep(seconds)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@in_virtual_time
async def test_what_is_built_is_fetched_and_released_in_the_hooks_own_name(folder: Path) -> None:
    peer = Peer(SharedShelf(), folder)
    delivery, is_new = await peer.take()
    assert (delivery.state, is_new, delivery.version) == ("received", True, "2.0")
    await settle()
    assert (await peer.state()).state == "released"
    (release,) = peer.api.releases
    assert release.principal.name == "hook/ci"
    assert release.body is not None
    assert (release.body["digest"], release.body["version"], release.body["latest"]) == (DIGEST, "2.0", True)
    assert [each.kind for each in peer.noted] == ["hook.released"]
    await peer.end()


@pytest.mark.parametrize(("policy", "state"), [("register", "registered"), ("plan", "planned")])
def test_a_policy_may_stop_before_a_release(policy: str, state: str, folder: Path) -> None:
    @in_virtual_time
    async def run() -> None:
        peer = Peer(SharedShelf(), folder, policy=policy)
        await peer.take()
        await settle()
        assert (await peer.state()).state == state
        assert not peer.api.releases
        await peer.end()

    run()


@in_virtual_time
async def test_one_that_comes_twice_is_done_once(folder: Path) -> None:
    peer = Peer(SharedShelf(), folder)
    for _ in range(3):
        await peer.take()
    await settle()
    _, is_new = await peer.take(id="d-1")
    await settle()
    assert not is_new
    assert len(peer.api.releases) == 1
    await peer.end()


@in_virtual_time
async def test_one_that_comes_to_two_controllers_at_once_is_done_once(folder: Path) -> None:
    shelf = SharedShelf()
    ann, ben = Peer(shelf, folder), Peer(shelf, folder, "ben")
    ben.is_mine = False
    took = await asyncio.gather(ann.take(), ben.take())
    assert sorted(is_new for _, is_new in took) == [False, True]
    for _ in range(4):
        await ann.hear()
        await ben.hear()
        await settle()
    assert len(ann.api.releases) + len(ben.api.releases) == 1
    assert (await ben.state()).state == "released"
    await ann.end()
    await ben.end()


@in_virtual_time
async def test_what_a_controller_took_and_left_is_done_by_the_next_one(folder: Path) -> None:
    shelf = SharedShelf()
    ann = Peer(shelf, folder)
    ann.is_mine = False
    await ann.take()
    await settle()
    await ann.end()
    ben = Peer(shelf, folder, "ben")
    await settle()
    assert len(ben.api.releases) == 1
    await ben.end()


@in_virtual_time
async def test_they_are_done_in_the_order_in_which_they_came(folder: Path) -> None:
    peer = Peer(SharedShelf(), folder)
    for number in range(5):
        await peer.take(id=f"d-{number}", version=f"{number}.0")
        await settle(0.5)
    await settle(60)
    versions = [each.body["version"] for each in peer.api.releases if each.body is not None]
    assert versions == ["0.0", "1.0", "2.0", "3.0", "4.0"]
    await peer.end()


@in_virtual_time
async def test_what_passes_is_tried_again_under_the_same_key_and_what_is_refused_is_not(folder: Path) -> None:
    peer = Peer(SharedShelf(), folder)
    peer.api.troubles = [(503, {"detail": "no owner"}), (503, {"detail": "no owner"})]
    await peer.take()
    await settle(60)
    assert (await peer.state()).state == "released"
    assert len({each.key for each in peer.api.releases}) == 1
    peer.api.troubles = [(409, {"detail": "the region is ahead", "rule": "ahead"})]
    await peer.take(id="d-2")
    await settle(60)
    assert (await peer.state()).state == "failed"
    assert (await peer.state()).text == "the region is ahead"
    assert peer.noted[-1].kind == "hook.failed"
    await peer.end()


@in_virtual_time
async def test_one_that_waited_for_another_try_never_takes_the_place_of_a_later_one(folder: Path) -> None:
    peer = Peer(SharedShelf(), folder)
    peer.api.troubles = [(503, {"detail": "away"})]
    await peer.take(id="d-1", version="1.0")
    await settle(3)
    await peer.take(id="d-2", version="2.0")
    await settle(600)
    released = [each.body["version"] for each in peer.api.releases if each.body is not None]
    assert released[-1] == "2.0"
    assert [(each.version, each.state) for each in await peer.hooks.deliveries.all()] == [
        ("2.0", "released"),
        ("1.0", "ignored"),
    ]
    await peer.hooks.redeliver("ci", (await peer.state(1)).id, "ann")
    await settle()
    assert (await peer.state(1)).state == "released"
    await peer.end()


@in_virtual_time
async def test_one_that_never_succeeds_ends(folder: Path) -> None:
    peer = Peer(SharedShelf(), folder)
    peer.api.troubles = [(503, {"detail": "away"})] * 100
    await peer.take()
    await settle(86_400)
    assert ((await peer.state()).state, (await peer.state()).tries) == ("failed", TRIES_MAX)
    await peer.end()


@in_virtual_time
async def test_one_is_done_anew_when_a_person_asks(folder: Path) -> None:
    peer = Peer(SharedShelf(), folder)
    delivery, _ = await peer.take()
    await settle()
    await peer.hooks.redeliver("ci", delivery.id, "ann")
    await settle()
    keys = [each.key for each in peer.api.releases]
    assert len(keys) == len(set(keys)) == 2
    with pytest.raises(Refused):
        await peer.hooks.redeliver("ci", "m-no", "ann")
    ignored, _ = await peer.take(id="d-9", branch="feature")
    assert ignored.state == "ignored"
    with pytest.raises(Refused):
        await peer.hooks.redeliver("ci", ignored.id, "ann")
    await peer.end()


@in_virtual_time
async def test_an_application_that_was_never_released_says_what_to_do(folder: Path) -> None:
    peer = Peer(SharedShelf(), folder)
    peer.spec = None
    await peer.take()
    await settle()
    assert "release it once, or name a file" in (await peer.state()).text
    await peer.end()


@in_virtual_time
async def test_a_spec_of_a_file_is_read_each_time(folder: Path) -> None:
    spec = folder / "web.yaml"
    peer = Peer(SharedShelf(), folder, spec=spec)
    await peer.take()
    await settle()
    assert (await peer.state()).state == "failed"
    spec.write_text("another one")
    await peer.take(id="d-2")
    await settle()
    assert peer.api.releases[-1].body is not None
    assert peer.api.releases[-1].body["spec"] == "another one"
    await peer.end()


@in_virtual_time
async def test_a_path_needs_a_digest(folder: Path) -> None:
    peer = Peer(SharedShelf(), folder)
    peer.api.uri = "./app"
    await peer.take()
    await peer.take(id="d-2", digest="")
    await settle()
    states = {each.id: each.state for each in await peer.hooks.deliveries.all()}
    assert states == {"m-d-1": "released", "m-d-2": "failed"}
    await peer.end()


@in_virtual_time
async def test_the_key_of_travis_is_asked_for_now_and_then(folder: Path) -> None:
    peer = Peer(SharedShelf(), folder, sender="travis")
    for number in range(3):
        delivery, _ = await peer.hooks.take("ci", arrived("travis build", number=str(number)))
        assert delivery.version
    assert peer.issuer.asked == 1
    await settle(4000)
    peer.issuer.key = ""
    delivery, _ = await peer.hooks.take("ci", arrived("travis build", number="9"))
    assert delivery.version, "the last key that was known counts for a day"
    await settle(86_400)
    with pytest.raises(CantVerify, match="can't be asked"):
        await peer.hooks.take("ci", arrived("travis build", number="10"))
    await peer.end()


@in_virtual_time
async def test_a_travis_that_can_not_be_asked_is_asked_seldom_whatever_comes(folder: Path) -> None:
    peer = Peer(SharedShelf(), folder, sender="travis")
    key, peer.issuer.key = peer.issuer.key, ""

    async def take(number: int) -> None:
        with pytest.raises(CantVerify, match="can't be asked"):
            await peer.hooks.take("ci", arrived("travis build", number=str(number)))

    await asyncio.gather(*map(take, range(50)))
    await settle(29)
    await take(51)
    assert peer.issuer.asked == 1
    peer.issuer.key = key
    await settle(2)
    delivery, _ = await peer.hooks.take("ci", arrived("travis build", number="52"))
    assert (bool(delivery.version), peer.issuer.asked) == (True, 2)
    await peer.end()


@in_virtual_time
@pytest.mark.parametrize(
    ("sender", "days_ago", "is_done"),
    [
        ("github workflow_run", 91, False),
        ("github workflow_run", 89, True),
        ("generic build", 91, True),  # id and time are signed
    ],
)
async def test_what_is_older_than_all_that_is_remembered_may_be_a_replay(
    sender: str, days_ago: float, is_done: bool, folder: Path
) -> None:
    peer = Peer(SharedShelf(), folder, sender=sender.partition(" ")[0])
    at = datetime.fromtimestamp(NOW - days_ago * 86_400, UTC).isoformat()
    run = {**PAYLOADS["github workflow_run"]["workflow_run"], "updated_at": at}
    changes = {"workflow_run": run} if sender.startswith("github") else {"finished_at": at}
    delivery, _ = await peer.hooks.take("ci", arrived(sender, **changes))
    assert delivery.version
    await settle()
    assert (await peer.state()).state == ("released" if is_done else "ignored")
    if not is_done:
        assert "it may have come before" in delivery.text
        await peer.hooks.redeliver("ci", delivery.id, "ann")
        await settle()
        assert (await peer.state()).state == "released", "a person knows that it is meant"
    await peer.end()


@in_virtual_time
async def test_what_was_forgotten_for_others_is_not_taken_for_new(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "KEPT_MAX", 3)
    peer = Peer(SharedShelf(), folder, sender="github", policy="register")

    def run(minute: float) -> Arrived:
        at = datetime.fromtimestamp(NOW + minute * 60, UTC).isoformat()
        made = {**PAYLOADS["github workflow_run"]["workflow_run"], "run_number": minute, "updated_at": at}
        return arrived("github workflow_run", workflow_run=made)

    for minute in range(6):
        await settle(NOW + minute * 60 + 20 - peer.hooks._clock())
        assert (await peer.hooks.take("ci", run(minute)))[0].state == "received"
        await settle()
    replayed, is_new = await peer.hooks.take("ci", run(0))
    assert (replayed.state, is_new) == ("ignored", True)
    assert (await peer.hooks.take("ci", run(0)))[1] is False
    assert (await peer.hooks.take("ci", run(5)))[1] is False
    await peer.end()


@in_virtual_time
async def test_what_is_told_of_a_delivery_is_saved_with_it(folder: Path) -> None:
    shelf = SharedShelf()
    peer = Peer(shelf, folder)
    peer.api.troubles = [(409, {"detail": "no", "rule": "port-taken"})]
    await peer.take()
    await settle()
    assert [each.kind for each in shelf.events] == [each.kind for each in peer.noted] == ["hook.failed"]
    assert shelf.events[0].at >= NOW
    await peer.end()


@in_virtual_time
async def test_a_secret_that_can_not_be_read_lets_nothing_in_and_shows_no_path(folder: Path) -> None:
    peer = Peer(SharedShelf(), folder)
    (folder / "secret").unlink()
    with pytest.raises(CantVerify) as caught:
        await peer.take()
    assert str(folder) not in str(caught.value)
    (folder / "secret").write_text("")
    with pytest.raises(CantVerify, match="no secret"):
        await peer.take()
    await peer.end()


@in_virtual_time
async def test_what_can_not_be_saved_is_not_taken(folder: Path) -> None:
    peer = Peer(SharedShelf(), folder)
    peer.store.trouble = "the disk is full"
    with pytest.raises(StoreError):
        await peer.take()
    peer.store.trouble = ""
    _, is_new = await peer.take()
    assert is_new, "its sender sends it again"
    await peer.end()


@in_virtual_time
async def test_no_more_than_a_bound_is_kept_and_nothing_that_is_still_to_be_done_goes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "KEPT_MAX", 5)
    peer = Peer(SharedShelf(), folder)
    for number in range(9):
        await peer.take(id=f"d-{number}", branch="feature")
    assert len(await peer.hooks.deliveries.all()) == 5
    peer.is_mine = False
    for number in range(9):
        await peer.take(id=f"e-{number}")
    states = [each.state for each in await peer.hooks.deliveries.all()]
    assert states.count("received") == 9
    await peer.end()


@in_virtual_time
async def test_nothing_that_is_not_signed_leaves_a_trace(folder: Path) -> None:
    peer = Peer(SharedShelf(), folder)
    for came in (
        signed("generic build", b"{}", "wrong"),
        dataclasses.replace(arrived("generic build"), body=b""),
    ):
        with pytest.raises(NotSigned):
            await peer.hooks.take("ci", came)
    assert not await peer.hooks.deliveries.all()
    with pytest.raises(Refused):
        await peer.hooks.take("other", arrived("generic build"))
    await peer.end()

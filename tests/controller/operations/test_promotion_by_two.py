"""Automatic promotion where two controllers share the applications: what was begun by one that is gone is
not begun again."""

from pathlib import Path
from typing import Any

from repave_controller.api.web.acting import Acting
from repave_controller.core.domain.application import Event
from repave_controller.core.ports import Record
from repave_controller.operations.promotion import KIND, Promotions
from repave_controller.operations.releasing import Deed
from repave_controller.peers.ports import NotOwner
from repave_controller.settings import PromotionSettings
from repave_protos.protocol.values import ApplicationName
from tests.controller.api.conftest import SPEC, a_package
from tests.controller.operations.test_promotion import DAY, PORTS
from tests.fakes.controller.api_rig import ObedientAgent
from tests.fakes.controller.plural_api import Peer, peers
from tests.fakes.waiting import until

STAGING, PROD = ApplicationName("hello-staging"), ApplicationName("hello-prod")


class Watching:
    """One controller's promotions, a day later. `is_dying`: what it asks is done, and it does not hear so."""

    def __init__(self, peer: Peer) -> None:
        self.told: list[Event] = []
        self.is_dying = False
        self._acting = Acting(peer.relay, None)
        ways = {
            "to-prod": PromotionSettings.model_validate(
                {"from": "staging", "to": "prod", "approve": "automatic"}
            )
        }

        def is_mine(name: str) -> bool:
            try:
                peer.scheduler.tenure_of(ApplicationName(name))
            except NotOwner:
                return False
            return True

        self.promotions = Promotions(
            ways,
            peer.store,
            lambda: peer.clock() + DAY + 60,
            peer.scheduler.applications,
            is_mine,
            self.told.extend,
        )
        self.promotions.act_with(self.act)

    async def act(self, deed: Deed) -> tuple[int, dict[str, Any]]:
        answer = await self._acting(deed)
        if self.is_dying:
            raise ConnectionError("this controller has ended")
        return answer


async def released(peer: Peer, stack: str, content: str) -> None:
    spec = SPEC.replace("app: hello\n", f"app: hello\nstack: {stack}\n").replace("8000", str(PORTS[stack]))
    spec = spec.replace("frontend: hello", f"frontend: hello-{stack}")
    async with peer.client.post("images", data=a_package(content)) as pushed:
        digest = (await pushed.json())["digest"]
    body = {"spec": spec, "digest": digest, "version": content}
    async with peer.client.post(f"applications/hello-{stack}/releases", json=body) as accepted:
        assert accepted.status == 202, await accepted.json()


def serves(peer: Peer, name: ApplicationName, version: str) -> bool:
    application = peer.scheduler.applications().get(name)
    group = application.group(application.serving) if application is not None else None
    return bool(application and application.running is None and group and group.version == version)


async def test_it_is_released_once_also_when_its_controller_ends_before_it_hears(tmp_path: Path) -> None:
    async with peers(tmp_path, "ann", "ben") as (ann, ben):
        await ann.take(STAGING)
        await ben.take(PROD)
        ann.serve(ObedientAgent("paris"))
        ben.serve(ObedientAgent("oslo"))
        await until(lambda: all(len(each.sessions.views()) == 2 for each in (ann, ben)))
        await released(ann, "prod", "v1")
        await until(lambda: serves(ann, PROD, "v1") and serves(ben, PROD, "v1"))
        await released(ben, "staging", "v2")
        await until(lambda: serves(ann, STAGING, "v2") and serves(ben, STAGING, "v2"))
        by_ann, by_ben = Watching(ann), Watching(ben)
        by_ben.is_dying = True
        for each in (by_ann, by_ben, by_ann):
            await each.promotions.look()
        assert [each.kind for each in (*by_ann.told, *by_ben.told)] == ["promotion.proposed"]
        await until(lambda: serves(ann, PROD, "v2") and serves(ben, PROD, "v2"))
        await ben.lose(PROD)
        await ann.take(PROD)
        by_ben.is_dying = False
        for each in (by_ben, by_ann, by_ben, by_ann):
            await each.promotions.look()
        known = ann.scheduler.applications()[PROD]
        assert known.rollouts_total == 2
        (record,) = await ann.store.records(KIND)
        assert isinstance(record, Record)
        (proposal,) = await by_ann.promotions.all()
        assert (proposal.state, proposal.version) in (("approved", "v2"), ("superseded", "v2"))

"""A controller that shares its store with no other: it decides for every application."""

from collections.abc import Collection

from repave_controller.core.domain.application import Tenure
from repave_controller.core.ports import Store
from repave_controller.peers.ports import ControllerId, Shard
from repave_protos.protocol.values import ApplicationName


class Alone:
    """Implements peers.ports.Ownership."""

    def __init__(self, store: Store, tenure: Tenure) -> None:
        self._store = store
        self._tenure = tenure

    def tenure_of(self, application: ApplicationName) -> Tenure | None:
        return self._tenure

    def owner_of(self, application: ApplicationName) -> ControllerId | None:
        return ""

    def others(self) -> Collection[Shard]:
        return ()

    async def begin_incarnation(self, above: int) -> int:
        self._tenure = await self._store.begin_incarnation(above)
        return self._tenure.incarnation

"""Who may have which package: agents those of their regions' groups, people those of their applications.

A package that no application runs is for those who brought it here. For all others it is not there.
"""

from collections.abc import Callable, Iterator, Mapping

from repave_controller.core.domain.application import Application
from repave_controller.security.principals import Kind, Permission, Principal
from repave_controller.security.provenance import Provenance
from repave_protos.protocol.values import ApplicationName, Digest, RegionName

Applications = Callable[[], Mapping[ApplicationName, Application]]

BAKES_MAX = 10_000


class Reach:
    """One for a controller process."""

    def __init__(self, applications: Applications, provenance: Provenance) -> None:
        self._applications, self._provenance = applications, provenance
        self._bakes: dict[tuple[RegionName, Digest], None] = {}

    def let_bake(self, region: RegionName, digest: Digest) -> None:
        """The region was asked to make a machine image of it."""
        while len(self._bakes) >= BAKES_MAX:
            del self._bakes[next(iter(self._bakes))]
        self._bakes[region, digest] = None

    def is_of_region(self, region: RegionName, digest: Digest) -> bool:
        """Whether its agent may have it: a group there is made of it, serving, kept or on its way."""
        if (region, digest) in self._bakes:
            return True
        return any(
            group.digest == digest and group.part(region) is not None
            for application in self._applications().values()
            for group in application.groups
        )

    async def may(self, principal: Principal, permission: Permission, digest: Digest) -> bool:
        """Whether a person may see it (READ), or have it (FETCH)."""
        if principal.kind is Kind.AGENT:
            return permission is Permission.FETCH and self.is_of_region(RegionName(principal.region), digest)
        if principal.may(permission) or any(principal.may(permission, name) for name in self._of(digest)):
            return True
        return await self._has_brought(principal, digest)

    async def may_release(self, principal: Principal, application: ApplicationName, digest: Digest) -> bool:
        """Whether `application` may be made of it: what others run is theirs, unless the principal brought
        it here, too. One that nothing runs yet is known to those whom its digest was told."""
        owners = tuple(self._of(digest))
        if not owners or application in owners:
            return True
        return await self.may(principal, Permission.FETCH, digest)

    async def _has_brought(self, principal: Principal, digest: Digest) -> bool:
        return principal.is_known and principal.name in (await self._provenance.of(digest)).holders

    def _of(self, digest: Digest) -> Iterator[ApplicationName]:
        """The applications that it is of, those that wait in a queue included."""
        for name, application in self._applications().items():
            digests = {each.digest for each in application.groups}
            digests |= {each.digest for each in application.queue}
            if digest in digests:
                yield name

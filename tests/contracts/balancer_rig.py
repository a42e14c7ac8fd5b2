"""What a world around a balancer offers to tests/contracts/test_balancer.py."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

import pytest

from repave_agent.core.ports import Backend, Balancer, Frontend
from repave_protos.protocol.capabilities import BalancerAbilities, nearest_shares
from repave_protos.protocol.fronts import SEVERAL, FrontProtocol
from repave_protos.protocol.values import GroupName


class Rig(ABC):
    """The world around a balancer."""

    abilities = BalancerAbilities()
    """What its kind declares."""
    sees_requests = True
    """Whether it sends requests somewhere, and counts those of each group."""
    reaches_ipv6 = True
    """Whether servers may have such addresses."""

    @abstractmethod
    def balancer(self) -> Balancer: ...

    @abstractmethod
    def rival(self) -> Balancer:
        """Of another agent, on the same machine."""

    @abstractmethod
    async def restart(self) -> None:
        """As its operator would: what it was told is lost."""

    @abstractmethod
    async def backend(self, group: str, is_enabled: bool = True) -> Backend: ...

    @abstractmethod
    async def begin_request(self, frontend: Frontend, group: GroupName) -> None: ...

    @abstractmethod
    async def end_requests(self) -> None: ...

    @abstractmethod
    async def sides(self, frontend: Frontend, headers: list[str]) -> list[str]:
        """Which group answers each request with such a header line."""

    async def fall_ill(self, group: str) -> None:
        """Its hosts do not answer any more."""
        pytest.skip("no host can be made ill here")

    async def recover(self, group: str) -> None:
        """Its hosts answer again."""
        raise AssertionError("none was made ill")

    def taken_port(self) -> AbstractContextManager[int]:
        """One that no frontend can have, until it is left."""
        pytest.skip("its ports are its operator's")

    def needs_users_apart(self) -> None:
        if not self.abilities.supports_sticky_split:
            pytest.skip("this balancer can't split by a cookie or header, and says so")

    def needs_baselines(self) -> None:
        if not self.abilities.takes_baselines:
            pytest.skip("this balancer splits in two, and says so")

    def needs_testers(self) -> None:
        if not self.abilities.supports_testers:
            pytest.skip("this balancer knows no testers, and says so")

    def needs_share(self, share_bp: int) -> None:
        if share_bp % self.abilities.share_step_bp:
            pytest.skip("this balancer can't give such a share, and says so")

    def share(self, wanted_bp: int) -> int:
        """The next one that it can give."""
        return nearest_shares(wanted_bp, self.abilities.share_step_bp)[1]

    @property
    def other_protocol(self) -> FrontProtocol:
        """One beside http, where it has one."""
        return "tcp" if "tcp" in self.abilities.fronts else "http"

    def needs_several_fronts(self) -> None:
        if SEVERAL not in self.abilities.fronts:
            pytest.skip("this balancer has one port for each application, and says so")

    def needs_ipv6(self) -> None:
        if not self.reaches_ipv6:
            pytest.skip("the stand-in reaches no address of IPv6")

    def needs_requests(self) -> None:
        if not self.sees_requests:
            pytest.skip("nothing counts the requests of each group here")

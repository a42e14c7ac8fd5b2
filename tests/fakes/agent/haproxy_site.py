"""A balancer on the real HAProxy with one application, for the tests of more than one file."""

from dataclasses import dataclass

from repave_agent.balancers.haproxy.balancer import HaproxyBalancer
from repave_agent.balancers.haproxy.process import HaproxyProcess
from repave_agent.clock import SystemClock
from repave_agent.core.ports import Route, Structure
from repave_protos.protocol.values import ApplicationName, GroupName
from tests.fakes.agent.haproxy_rig import HaproxyRig

SHOP = ApplicationName("shop")
BLUE, GREEN = GroupName("shop-v001"), GroupName("shop-v002")
UPGRADE = "Connection: Upgrade"
TO_BLUE, TO_GREEN = Route(SHOP, BLUE), Route(SHOP, GREEN)


@dataclass
class Site:
    """A balancer with one application, blue and green arranged, traffic at blue."""

    rig: HaproxyRig
    balancer: HaproxyBalancer
    port: int
    structure: Structure

    @property
    def process(self) -> HaproxyProcess:
        """A second pair of eyes on the first of the two HAProxys."""
        return HaproxyProcess(self.rig.directory, "haproxy", SystemClock().monotonic)

    @property
    def second_process(self) -> HaproxyProcess:
        return HaproxyProcess(self.rig.directory / "2", "haproxy", SystemClock().monotonic)

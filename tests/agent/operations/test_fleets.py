"""What an agent finds of a fleet that is there already: each host once, probed as the spec says."""

from collections.abc import Sequence

import pytest

from repave_agent.core.host_health import PASSED, ProbeResult
from repave_agent.core.ports import BalancerError
from repave_agent.operations.fleets import Grounds, answer_hosts
from repave_protos.protocol.queries import FindHosts, FoundHost, FoundHosts, Refusal
from repave_protos.protocol.values import ApplicationName, GivenHost, Probe

PROBE = Probe("http", 8080)
ONE, TWO = GivenHost("10.0.0.1", 8080), GivenHost("10.0.0.2", 9090, "web2")


async def ask(probe: Probe, address: str) -> ProbeResult:
    return PASSED if (address, probe.port) == ("10.0.0.2", 9090) else ProbeResult(False, "refused")


async def old(name: str) -> Sequence[GivenHost]:
    if name != "old":
        raise BalancerError(f"there is no backend {name}")
    return (GivenHost("10.0.0.1", 0), TWO)


async def test_each_host_is_probed_at_its_own_port() -> None:
    found = await answer_hosts({}, FindHosts("hosts", "", (ONE, TWO), PROBE), Grounds(), ask)
    assert found == FoundHosts((FoundHost(ONE, "refused"), FoundHost(TWO)))


async def test_what_a_balancer_finds_without_a_port_has_that_of_the_spec() -> None:
    found = await answer_hosts({"haproxy": old}, FindHosts("haproxy", "old", (), PROBE), Grounds(), ask)
    assert found == FoundHosts((FoundHost(ONE, "refused"), FoundHost(TWO)))


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("haproxy", "new", "there is no backend new"),
        ("asg", "web", "finds a fleet by asg; it takes: --hosts, --from-haproxy"),
        ("hosts", "", "the fleet has no hosts"),
    ],
)
async def test_what_can_not_be_found_is_told(kind: str, name: str, said: str) -> None:
    answer = await answer_hosts({"haproxy": old}, FindHosts(kind, name, (), PROBE), Grounds(), ask)
    assert isinstance(answer, Refusal)
    assert said in answer.why


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("web1.example.com", "name the host by its IP address"),
        ("169.254.169.254", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("fd00:ec2::254", "no address of a host"),
        ("fe80::1", "link-local"),
        ("0.0.0.0", "no address of a host"),
        ("239.0.0.1", "no address of a host"),
        ("127.0.0.1", "is the agent's own machine"),
        ("10.0.0.1", "10.0.0.1:8080 is a host that repave has made for blog"),
    ],
)
async def test_what_may_not_be_adopted_is_not_even_asked(address: str, said: str) -> None:
    async def never(probe: Probe, at: str) -> ProbeResult:
        raise AssertionError(f"{at} was asked")

    grounds = Grounds({"10.0.0.1": ApplicationName("blog")}, has_loopback=False)
    question = FindHosts("hosts", "", (TWO, GivenHost(address, 8080)), PROBE)
    answer = await answer_hosts({}, question, grounds, never)
    assert isinstance(answer, Refusal)
    assert said in answer.why


async def test_a_host_that_another_application_has_is_found_by_no_balancer_either() -> None:
    grounds = Grounds({"10.0.0.2": ApplicationName("blog")})
    answer = await answer_hosts({"haproxy": old}, FindHosts("haproxy", "old", (), PROBE), grounds, ask)
    assert isinstance(answer, Refusal)
    assert "made for blog" in answer.why

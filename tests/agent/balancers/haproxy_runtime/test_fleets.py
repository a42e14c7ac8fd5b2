"""The servers of a backend that an operator's HAProxy has already, read by its runtime socket alone."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from repave_agent.balancers.haproxy_runtime.commands import balancer_command
from repave_agent.balancers.haproxy_runtime.fleets import of_backend
from repave_agent.balancers.haproxy_runtime.options import HaproxyRuntimeOptions
from repave_agent.core.ports import BalancerError
from repave_agent.kinds import CommandLine, Site
from repave_agent.registry import installed
from repave_protos.protocol.values import GivenHost
from tests.fakes.agent.operators_haproxy import OperatorsHaproxy
from tests.fakes.clock import QuickClock

OWN = """
backend old
  server web1 127.0.0.1:9001
  server web2 127.0.0.1:9002 weight 10
  server away 127.0.0.1:9003 disabled
  server leaving 127.0.0.1:9004 weight 0
  server sorry 127.0.0.1:9005 backup
backend spoken-to-by-tls
  server web1 127.0.0.1:9443 ssl verify none
"""


@pytest.fixture
def own() -> Iterator[OperatorsHaproxy]:
    with TemporaryDirectory(prefix="rf") as directory:  # of a path that is short enough for a socket
        made = OperatorsHaproxy(Path(directory) / "side", own=OWN)
        yield made
        made.kill()


def options(own: OperatorsHaproxy) -> HaproxyRuntimeOptions:
    return HaproxyRuntimeOptions(sockets=(str(own.socket),), map=str(own.map))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(installed().settings_model()(region="here", state=tmp_path), QuickClock())


async def test_those_that_take_requests_are_found_with_their_names(own: OperatorsHaproxy, site: Site) -> None:
    assert await of_backend(options(own), site, "old") == (
        GivenHost("127.0.0.1", 9001, "web1"),
        GivenHost("127.0.0.1", 9002, "web2"),
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("new", "there is no backend new; there are: .*old"),
        ("old;shutdown frontend shop", "is no name of a backend"),
        ("spoken-to-by-tls", "web1 of spoken-to-by-tls is spoken to by TLS"),
    ],
)
async def test_what_can_not_be_adopted_is_refused(
    own: OperatorsHaproxy, site: Site, name: str, said: str
) -> None:
    with pytest.raises(BalancerError, match=said):
        await of_backend(options(own), site, name)


def test_the_snippet_lets_a_backend_answer_until_repave_does(site: Site) -> None:
    printed = balancer_command(
        HaproxyRuntimeOptions(), site, CommandLine(("snippet", "shop:80:else=old", "blog:81"), "", "text")
    )
    shop, blog = printed.split("frontend shop\n")[1].split("frontend blog\n")
    assert "default_backend old\n" in shop
    assert "default_backend repave-no-route\n" in blog
    with pytest.raises(BalancerError, match="else= names a backend"):
        balancer_command(HaproxyRuntimeOptions(), site, CommandLine(("snippet", "a:1:else=x y"), "", "text"))

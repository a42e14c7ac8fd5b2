"""A provider and a balancer of another package: found by their entry points, set up, built, and used."""

import asyncio
import textwrap
from pathlib import Path

import pytest

from repave_agent.__main__ import Agent, main
from repave_agent.registry import RegistryError, installed
from repave_protos.daemon.settings import SettingsError, load_settings
from repave_protos.package.archive import pack, sha256_of
from repave_protos.protocol.values import (
    ApplicationName,
    DesiredGroup,
    DesiredState,
    Digest,
    Epoch,
    GroupName,
    HostTemplate,
    Probe,
    Welcome,
)
from tests.fakes.waiting import until

PLUGIN = """
from repave_agent.kinds import BalancerKind, Command, ProviderKind
from repave_protos.daemon.settings import Settings
from repave_protos.protocol.capabilities import BalancerAbilities, ProviderAbilities
from tests.fakes.agent.balancer import FakeBalancer
from tests.fakes.agent.provider import FakeCloud, FakeProvider


class CloudletOptions(Settings):
    hosts_max: int = 1


class Cloudlet(FakeProvider):
    name = "cloudlet"

    async def start(self):
        return "hosts in memory"


class Splitter(FakeBalancer):
    name = "splitter"

    async def end(self):
        pass


class SplitterOptions(Settings):
    address: str = "192.0.2.1"


def build(options, site):
    return Cloudlet(FakeCloud(capacity=options.hosts_max))


PROVIDER = ProviderKind(
    "cloudlet", CloudletOptions, build,
    {"cloudlet": Command("count", "only cloudlet counts", lambda options, *_: str(options.hosts_max))},
    abilities=ProviderAbilities(takes_machine_images=True),
)
BALANCER = BalancerKind(
    "splitter", SplitterOptions,
    lambda options, site: Splitter(traffic_address=options.address),
    lambda options: BalancerAbilities(share_step_bp=500, supports_testers=False),
)
"""
ENTRY_POINTS = """
[repave.providers]
cloudlet = {module}:PROVIDER
[repave.balancers]
splitter = {module}:BALANCER
"""
SHOP, GROUP = ApplicationName("shop"), GroupName("shop-v001")


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, entry_points: str) -> None:
    """As pip would: a module, and a distribution that names it."""
    information = folder / f"{folder.name}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {folder.name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(textwrap.dedent(entry_points))
    monkeypatch.syspath_prepend(str(folder))


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "plugin", monkeypatch, ENTRY_POINTS.format(module="cloudlet_of_another_package"))
    (tmp_path / "plugin" / "cloudlet_of_another_package.py").write_text(PLUGIN)


def environment(state: Path) -> dict[str, str]:
    return {
        "REPAVE_AGENT_REGION": "paris",
        "REPAVE_AGENT_STATE": str(state),
        "REPAVE_AGENT_PROVIDER": "cloudlet",
        "REPAVE_AGENT_BALANCER": "splitter",
        "REPAVE_AGENT_CLOUDLET__HOSTS_MAX": "2",
    }


@pytest.mark.usefixtures("plugin")
async def test_kinds_of_another_package_are_set_up_built_and_pass_a_launch(
    tmp_path: Path,
) -> None:
    registry = installed()
    settings, origins = load_settings(
        registry.settings_model(), None, environment(tmp_path / "state"), "REPAVE_AGENT_"
    )
    assert origins["cloudlet.hosts_max"] == "environment REPAVE_AGENT_CLOUDLET__HOSTS_MAX"
    agent = Agent(settings, registry)
    hello = agent.make_hello()
    assert (hello.provider, hello.balancer, hello.traffic_address) == ("cloudlet", "splitter", "192.0.2.1")
    assert {"traffic_precision=500bp", "testers=none", "host.image=any"} <= set(hello.capabilities)

    await agent.provider.start()
    await agent.worker.start()
    running = asyncio.create_task(agent.worker.run())
    await agent.on_welcome(Welcome("1", "ours", "http://127.0.0.1:1", (SHOP,)))
    await agent.worker.on_desired(desired(package(tmp_path)))
    await until(lambda: agent.balancer.machine.routes != ())  # type: ignore[attr-defined]  # of the fake
    hosts = await agent.provider.list_hosts()
    assert [(host.group, host.is_running) for host in hosts] == [(GROUP, True)] * 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await agent.prober.close()


def package(directory: Path) -> Digest:
    """In the agent's cache already."""
    (directory / "app").mkdir()
    (directory / "app" / "page.html").write_text("hello")
    made = directory / "app.tar.gz"
    pack(directory / "app", made)
    digest = sha256_of(made)
    made.rename(directory / "state" / "images" / f"{digest}.tar.gz")
    return digest


def desired(digest: Digest) -> DesiredState:
    group = DesiredGroup(
        name=GROUP,
        digest=digest,
        count=2,
        weight_bp=10_000,
        template=HostTemplate(
            run=("serve",),
            environment=(),
            probe=Probe("command", 8080, command=("true",), interval_seconds=0.05, timeout_seconds=0.05),
            min_healthy_seconds=0.0,
            launch_deadline_seconds=30.0,
            drain_seconds=0.0,
        ),
    )
    return DesiredState(SHOP, Epoch(1, 1, 1), 8080, (group,))


@pytest.mark.usefixtures("plugin")
def test_a_command_of_another_package_works_where_its_kind_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert main(["cloudlet", "count"]) == 0
    assert capsys.readouterr().out == "2\n"
    monkeypatch.setenv("REPAVE_AGENT_PROVIDER", "local")
    assert main(["cloudlet", "count"]) == 1
    assert capsys.readouterr().err == "repave-agent: provider is local: only cloudlet counts\n"


def test_a_kind_that_is_not_installed_is_refused_with_those_that_are(tmp_path: Path) -> None:
    given = {"REPAVE_AGENT_REGION": "paris", "REPAVE_AGENT_PROVIDER": "cloudlet"}
    with pytest.raises(SettingsError, match="'local', 'ssh_pool', 'openstack', 'gcp', 'azure' or 'aws'"):
        load_settings(installed().settings_model(), None, given, "REPAVE_AGENT_")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("broken = there_is_no_such_module:PROVIDER", "can't be loaded: No module named"),
        ("broken = json:dumps", "is no ProviderKind"),
        ("twice = repave_agent.providers.local:PROVIDER", "local is registered twice"),
    ],
)
def test_a_kind_that_can_not_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, why: str
) -> None:
    install(tmp_path / "other", monkeypatch, f"[repave.providers]\n{entry}\n")
    with pytest.raises(RegistryError, match=why):
        installed()

"""The pool of machines over SSH when things go wrong: real sshd machines that are cut off, full, wrong,
shared, half-made; what people do about them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from repave_agent.__main__ import main
from repave_agent.clients.ssh_identity import Identity
from repave_agent.clock import SystemClock
from repave_agent.core.ports import Clock, Host, HostSpec, OutOfCapacityError, RefusedError, TransientError
from repave_agent.providers.ssh_pool.bootstrap import Machine
from repave_agent.providers.ssh_pool.inventory import Inventory, read
from repave_agent.providers.ssh_pool.leases import Leases
from repave_agent.providers.ssh_pool.machines import Access, Machines
from repave_agent.providers.ssh_pool.options import Proof, ResetOptions
from repave_agent.providers.ssh_pool.provider import SshPoolProvider
from repave_protos.package.archive import pack, sha256_of
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, RegionName
from tests.fakes.clock import FastClock
from tests.fakes.templates import a_template
from tests.fakes.waiting import until_async
from tests.support.sshd_hosts import PORT, ROOT, Pool, pool, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
OCTET = 253
RUN = ("sleep", "600")


@pytest.fixture
def machines(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """Each file of tests has an OCTET of its own: files run at the same time. The mark `pool` says how many
    there are, and how they are tuned."""
    octet: int = request.module.OCTET
    said = request.node.get_closest_marker("pool")
    size, tune, *_ = (*said.args, None) if said else (3, None)
    with (
        TemporaryDirectory(prefix="rp") as directory,
        pool(Path(directory) / "pool", size, octet, tune) as made,
    ):
        yield made


@dataclass
class Region:
    """One agent's side of a pool."""

    machines: Pool
    package: Path
    directory: Path
    proof: Proof = "host-key"
    reset: ResetOptions | None = None
    trusts_first_use: bool = False
    known_hosts: Path | None = None
    inventory: Path | None = None
    clock: Clock = field(default_factory=SystemClock)
    access: dict[str, Any] = field(default_factory=dict)  # what else is said of how machines are reached

    @property
    def leases(self) -> Leases:
        return Leases(self.directory)

    @asynccontextmanager
    async def agent(self, installation: str = "ours") -> AsyncIterator[SshPoolProvider]:
        reset = self.reset or ResetOptions(
            command=self.machines.reset_command, proof=self.proof, seconds=20.0
        )
        said = {
            "user": "root",
            "identity": Identity("ssh_pool", self.machines.key),
            "port": PORT,
            **self.access,
        }
        access = Access(
            known_hosts=self.known_hosts, trusts_first_use=self.trusts_first_use, root=ROOT, **said
        )
        reached = Machines(Inventory(self.inventory or self.machines.inventory), access, self.leases)
        provider = SshPoolProvider(
            RegionName("here"), lambda: installation, reached, reset, clock=self.clock,
            unreachable_seconds=1.0, stop_grace_seconds=1.0,
        )  # fmt: skip
        try:
            yield provider
        finally:
            await provider.close()

    def spec(self, number: int = 1, run: tuple[str, ...] = RUN, **environment: str) -> HostSpec:
        name, group = HostName(f"shop-v001-{number}"), GroupName("shop-v001")
        pairs = tuple(environment.items())
        digest = sha256_of(self.package)
        return HostSpec(name, group, ApplicationName("shop"), digest, a_template(run, pairs))

    def states(self) -> dict[str, str]:
        return {name: each.state for name, each in self.leases.all().items()}


@pytest.fixture
def region(machines: Pool, package: Path, tmp_path: Path) -> Region:
    return Region(machines, package, tmp_path / "agent")


async def settled(region: Region, name: str) -> str:
    """What becomes of a machine that was handed back."""

    async def is_known() -> bool:
        return region.leases.get(name).state != "dirty"

    await until_async(is_known)
    return region.leases.get(name).state


# --------------------------------------------------------------------------------- fresh means proved


@pytest.mark.pool(2)
@pytest.mark.parametrize("proof", ["host-key", "boot-id"])
async def test_a_machine_is_made_anew_before_and_after_each_host(region: Region, proof: Proof) -> None:
    region.proof = proof
    boots = []
    async with region.agent() as agent:
        for number in (1, 2, 3):
            before = {name: region.machines.run(name, "cat", "/proc/sys/kernel/random/boot_id")
                      for name in region.machines.names}  # fmt: skip
            host = await agent.launch(region.spec(number), region.package)
            name = next(name for name, each in region.leases.all().items() if each.lease)
            boots.append(region.machines.run(name, "cat", "/proc/sys/kernel/random/boot_id"))
            assert number > 2 or boots[-1] != before[name]
            await agent.destroy(host.name)
            assert await settled(region, name) == "fresh"
    assert len(set(boots)) == 3


async def test_a_machine_that_a_reset_left_as_it_was_is_not_used(region: Region) -> None:
    region.reset, region.clock = ResetOptions(command=("true",), proof="boot-id", seconds=1), FastClock()
    async with region.agent() as agent:
        with pytest.raises(
            RefusedError, match="m1 and m2 fail alike, so none is quarantined: m2 was not start"
        ):
            await agent.launch(region.spec(), region.package)
    assert region.states() == {"m1": "dirty", "m2": "dirty"}


@pytest.mark.pool(2)
async def test_a_reset_that_fails_is_told_with_what_it_said(region: Region) -> None:
    region.reset = ResetOptions(
        command=("sh", "-c", "echo no answer of $REPAVE_MACHINE from its BMC; exit 3")
    )
    async with region.agent() as agent:
        with pytest.raises(TransientError, match="m2: its reset failed with code 3: no answer of m2 from"):
            await agent.launch(region.spec(), region.package)


async def test_what_somebody_left_on_a_fresh_machine_makes_it_dirty_again(region: Region) -> None:
    async with region.agent() as agent:
        host = await agent.launch(region.spec(), region.package)
        await agent.destroy(host.name)
        assert await settled(region, "m1") == "fresh"
        region.machines.run("m1", "mkdir", f"{ROOT}/hosts")
        boot = region.machines.run("m1", "cat", "/proc/sys/kernel/random/boot_id")
        hosts = [await agent.launch(region.spec(number), region.package) for number in (2, 3, 4)]
        assert len({host.address for host in hosts}) == 3
        assert region.machines.run("m1", "cat", "/proc/sys/kernel/random/boot_id") != boot


# ------------------------------------------------------------------------------ machines that fail


async def test_bad_machines_are_quarantined_with_the_reason_and_another_one_is_taken(region: Region) -> None:
    region.machines.halt("m1")
    region.machines.flawed("m2", "wrong key")
    region.machines.write_inventory()
    async with region.agent() as agent:
        host = await agent.launch(region.spec(), region.package)
        assert host.address == region.machines.address("m3")
        with pytest.raises(OutOfCapacityError, match=r"of 3, 1 are leased and 2 quarantined \(m1, m2\)"):
            await agent.launch(region.spec(2), region.package)
    assert region.states() == {"m1": "quarantined", "m2": "quarantined", "m3": "leased"}
    assert "can't be reached" in region.leases.get("m1").reason
    assert "its host key is not the one that is known for it" in region.leases.get("m2").reason


async def test_machines_whose_keys_an_authority_has_signed_need_no_known_keys(region: Region) -> None:
    region.known_hosts = region.machines.be_certified()
    region.machines.halt("m1")
    region.machines.boot("m1")  # the others have no certificate yet
    async with region.agent() as agent:
        host = await agent.launch(region.spec(), region.package)
        assert host.is_running
        await agent.destroy(host.name)
    somebody = region.machines.key.with_suffix(".pub").read_text()
    region.known_hosts.write_text(f"@cert-authority * {somebody}")
    async with region.agent() as agent:
        with pytest.raises(TransientError, match="its host key is not the one that is known for it"):
            await agent.launch(region.spec(2), region.package)
    # What machines show alike is no fault of one of them, so how many are quarantined depends on the order.
    assert not set(region.states().values()) - {"dirty", "quarantined"}


async def test_a_full_disk_is_told_and_another_machine_is_taken(region: Region, tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "noise").write_bytes(b"".join(bytes([n % 251, n % 13]) * 64 for n in range(65_536)))
    pack(tmp_path / "big", tmp_path / "big.tar.gz")
    region.package = tmp_path / "big.tar.gz"
    empty = (
        f"chmod -R u+w {ROOT}; rm -rf {ROOT}/hosts {ROOT}/packages; printf %s $REPAVE_NONCE > {ROOT}/.fresh"
    )
    region.reset = ResetOptions(
        remote=("sh", "-c", empty), proof="marker", marker=f"{ROOT}/.fresh", seconds=20.0
    )
    region.machines.run("m1", "sh", "-c", f"head -c 60000000 /dev/zero > {ROOT}/full")
    async with region.agent() as agent:
        host = await agent.launch(region.spec(), region.package)
        assert host.address == region.machines.address("m2")
    assert "No space left on device" in region.leases.get("m1").reason


async def test_a_machine_that_dies_in_its_bootstrap_is_quarantined(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Machine.start
    died: list[str] = []

    async def dying(self: Machine, *arguments: object) -> None:
        if not died:
            died.append(self.name)
            region.machines.halt(self.name)
        await start(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Machine, "start", dying)
    async with region.agent() as agent:
        host = await agent.launch(region.spec(), region.package)
        assert host.address != region.machines.address(died[0])
    assert region.states()[died[0]] == "quarantined"


@pytest.mark.pool(2)
async def test_a_host_whose_machine_is_silent_is_believed_for_a_while_and_then_not(region: Region) -> None:
    region.clock = FastClock(4.0)
    async with region.agent() as agent:
        host = await agent.launch(region.spec(), region.package)
        region.machines.halt("m1")
        assert [each.is_running for each in await agent.list_hosts()] == [True]

        async def is_given_up() -> bool:
            return bool((await agent.list_hosts())[0].unseen)

        await until_async(is_given_up)
        (listed,) = await agent.list_hosts()
        assert listed.unseen.startswith("its machine m1 can't be reached for ")
        await agent.destroy(host.name)
        (left,) = await agent.list_hosts()
        assert left.left.startswith(
            "may still run on m1, which is quarantined: shop-v001-1 could not be ended"
        )
    assert "shop-v001-1 could not be ended on it" in region.leases.get("m1").reason
    assert region.states()["m1"] == "quarantined"


@pytest.mark.pool(1)
async def test_a_worker_that_may_still_run_has_its_own_time_to_finish_before_its_machine_is_used_again(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, graces = Machine.stop, []

    async def noted(machine: Machine, host: HostName, grace_seconds: float) -> None:
        graces.append(grace_seconds)
        await stop(machine, host, grace_seconds)

    monkeypatch.setattr(Machine, "stop", noted)
    served = region.spec()
    worker = replace(served, template=replace(served.template, is_worker=True, drain_seconds=7.0))
    async with region.agent() as agent:
        await agent.launch(worker, region.package)
        lease = region.leases.get("m1").lease
        assert lease is not None
        region.leases.put("m1", state="dirty", lease=None, remains=replace(lease, may_run=True))
        await agent.launch(region.spec(2), region.package)
    assert graces == [7.0]


# ------------------------------------------------------------------------------ agents that end, and others


STAGES = ("holder", "take", "proof", "unpack", "contents", "start")


@pytest.mark.pool(2)
@pytest.mark.parametrize("stage", STAGES)
async def test_an_agent_that_is_killed_at_any_stage_leaves_nothing_behind(
    region: Region, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    reached = asyncio.Event()
    do = Machine._do

    async def stopped(self: Machine, verb: str, *words: str, **more: float) -> object:
        if verb == stage:
            reached.set()
            await asyncio.Event().wait()
        return await do(self, verb, *words, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Machine, "_do", stopped)
        async with region.agent() as killed:
            launch = asyncio.create_task(killed.launch(region.spec(), region.package))
            await reached.wait()
            for task in killed._launches.tasks.values():
                task.cancel()
            await asyncio.gather(launch, return_exceptions=True)
    async with region.agent() as agent:
        (half,) = await agent.list_hosts()
        assert (half.is_running, half.ended) == (
            False,
            "was never started: the agent ended while it made this host",
        )
        host = await agent.launch(region.spec(), region.package)
        assert [each.is_running for each in await agent.list_hosts()] == [True]
        await agent.destroy(host.name)
        assert await agent.list_hosts() == []
    assert "leased" not in region.states().values()


async def test_two_agents_with_one_inventory_never_share_a_machine(region: Region, tmp_path: Path) -> None:
    other = Region(region.machines, region.package, tmp_path / "other", proof="boot-id")
    region.proof = "boot-id"
    async with region.agent() as ours, other.agent("theirs") as theirs:
        launches: list[Awaitable[Host]] = []
        for number in (1, 2):
            launches += [agent.launch(region.spec(number), region.package) for agent in (ours, theirs)]
        done = await asyncio.gather(*launches, return_exceptions=True)
        hosts = [each for each in done if isinstance(each, Host)]
        assert len({host.address for host in hosts}) == len(hosts) >= 2
        for agent in (ours, theirs):
            for host in await agent.list_hosts():
                assert host.is_running


async def test_a_machine_that_another_one_has_is_free_again_when_it_gives_it_back(
    region: Region, tmp_path: Path
) -> None:
    other = Region(region.machines, region.package, tmp_path / "other")
    async with region.agent() as ours, other.agent("theirs") as theirs:
        for number in (1, 2, 3):
            await theirs.launch(region.spec(number), region.package)
        with pytest.raises(TransientError, match="m1 is leased by theirs/here/shop-v001-1"):
            await ours.launch(region.spec(), region.package)
        await theirs.destroy(HostName("shop-v001-2"))
        assert await settled(other, "m2") == "fresh"
        assert (await ours.launch(region.spec(2), region.package)).address == region.machines.address("m2")


async def test_a_caller_who_leaves_at_any_moment_stops_nothing_half_way(region: Region) -> None:
    async with region.agent() as agent:
        for wait in (0.0, 0.05, 0.3):
            launch = asyncio.create_task(agent.launch(region.spec(), region.package))
            await asyncio.wait([launch], timeout=wait)
            launch.cancel()
        host = await agent.launch(region.spec(), region.package)
        assert [each.name for each in await agent.list_hosts()] == [host.name]
        assert list(region.states().values()).count("leased") == 1


# ----------------------------------------------------------------------------------------- words, keys


@pytest.mark.pool(1)
async def test_no_word_becomes_code(region: Region) -> None:
    evil = "a b'c\"d $(touch /tmp/evil) `id` ; exit 3\n#"
    show = ("sh", "-c", 'printf "%s|%s|%s" "$$COLOUR" "$$1" "$$PORT"', "-", evil.replace("$", "$$"))
    async with region.agent() as agent:
        host = await agent.launch(region.spec(1, show, COLOUR=evil), region.package)

        async def has_ended() -> bool:
            return not (await agent.list_hosts())[0].is_running

        await until_async(has_ended)
        assert await agent.log_tail(host.name, 10) == f"{evil}|{evil}|8080"
        with pytest.raises(RefusedError, match="cannot name a host"):
            await agent.launch(region.spec("1; reboot"), region.package)  # type: ignore[arg-type]


async def test_first_use_is_trusted_only_where_it_was_asked_for_and_then_kept(region: Region) -> None:
    lines = region.machines.inventory.read_text().splitlines()
    bare = "\n".join(line for line in lines if "host_key" not in line)
    region.machines.inventory.write_text(bare)
    async with region.agent() as agent:
        with pytest.raises(RefusedError, match="m1 has no host_key in the inventory"):
            await agent.start()
    region.trusts_first_use = True
    restart = region.machines.reset_command
    keep = f"cp {region.machines.inventory} {region.machines.inventory}.bare"
    back = f"cp {region.machines.inventory}.bare {region.machines.inventory}"
    region.reset = ResetOptions(
        command=("sh", "-c", f'{keep}; "$@"; {back}', "-", *restart), proof="boot-id", seconds=20.0
    )
    async with region.agent() as agent:
        assert await agent.start() == "3 machines"
        host = await agent.launch(region.spec(), region.package)
        assert region.leases.get("m1").pinned.startswith("ssh-ed25519 ")
    region.machines.halt("m1")
    region.machines.boot("m1")
    region.machines.inventory.write_text(bare)
    async with region.agent() as agent:
        await agent.destroy(host.name)
    assert "its host key is not the one" in region.leases.get("m1").reason


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("machines: [{name: a, address: x}, {name: a, address: y}]", "name a is there twice"),
        ("machines: [{name: a, address: x}, {name: b, address: x}]", "address x is there twice"),
        ("machines: [{name: '../a', address: x}]", "machines.0.name: must be 1 to 64 letters"),
        ("machines: [{name: a, adress: x}]", "machines.0.address: field required"),
        ("machines: [{name: a, address: x, host_key: nonsense}]", "machines.0.host_key.0: must be a public"),
        ("machines: {", "is no YAML"),
    ],
)
def test_a_wrong_inventory_names_the_field(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "pool.yaml").write_text(text)
    with pytest.raises(RefusedError, match=said):
        read(tmp_path / "pool.yaml")


# --------------------------------------------------------------------------------------------- people


@pytest.fixture
def ask(region: Region, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
        ) -> Callable[..., tuple[int, str]]:  # fmt: skip
    named = {"REGION": "here", "STATE": str(tmp_path), "PROVIDER": "ssh_pool",
             "SSH_POOL__INVENTORY": str(region.machines.inventory)}  # fmt: skip
    for name, value in named.items():
        monkeypatch.setenv(f"REPAVE_AGENT_{name}", value)
    region.directory = tmp_path / "pool"

    def asked(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(["pool", *words])
        out, err = capsys.readouterr()
        return code, out or err

    return asked


async def test_people_see_machines_take_them_out_and_put_them_back(
    region: Region, ask: Callable[..., tuple[int, str]]
) -> None:
    assert ask("quarantine", "m1", "--reason", "smells") == (0, "m1 is quarantined: smells\n")
    async with region.agent() as agent:
        host = await agent.launch(region.spec(), region.package)
        assert host.address == region.machines.address("m2")
        code, shown = ask("list", "-o", "json")
        items = {
            each["machine"]: (each["state"], each["host"], each["reason"])
            for each in json.loads(shown)["items"]
        }
        assert items == {
            "m1": ("quarantined", "", "smells"),
            "m2": ("leased", "shop-v001-1", ""),
            "m3": ("dirty", "", ""),
        }
        assert code == 0
        assert ask("quarantine", "m2") == (
            1,
            "repave-agent: m2 has shop-v001-1. First: repave taint shop-v001-1\n",
        )
        assert ask("return", "m1")[0] == 0
        assert ask("return", "m1") == (1, "repave-agent: m1 is not quarantined, it is dirty\n")
        assert ask("return", "m9") == (1, "repave-agent: no machine is called m9; there are: m1, m2, m3\n")
        assert ask("return", "--all") == (0, "no machine is quarantined\n")
        ask("quarantine", "m1")
        ask("quarantine", "m3")
        assert ask("return", "--all") == (0, "m1, m3: back; each is made anew before it is used\n")
        assert ask("quarantine", "m1", "--all")[0] == 1
        await agent.launch(region.spec(2), region.package)
        await agent.launch(region.spec(3), region.package)
    assert "m1" in ask("list")[1]


async def test_a_lease_that_an_older_record_does_not_know_is_only_replaced_when_a_person_says_so(
    region: Region, ask: Callable[..., tuple[int, str]]
) -> None:
    async with region.agent() as agent:
        await agent.launch(region.spec(), region.package)
    (region.directory / "machines.json").unlink()
    async with region.agent() as agent:
        host = await agent.launch(region.spec(2), region.package)
        assert host.address == region.machines.address("m2")
        assert region.leases.get("m1").reason == "leased by ours/here/shop-v001-1"
        ask("quarantine", "m1")
        assert ask("release", "m1")[0] == ask("return", "m1")[0] == 0
        ask("quarantine", "m3")
        assert (await agent.launch(region.spec(3), region.package)).address == region.machines.address("m1")


def test_a_region_without_a_pool_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("REPAVE_AGENT_REGION", "here")
    monkeypatch.setenv("REPAVE_AGENT_STATE", str(tmp_path))
    assert main(["pool", "list"]) == 1
    assert (
        capsys.readouterr().err == "repave-agent: provider is local: only ssh_pool has a pool of machines\n"
    )

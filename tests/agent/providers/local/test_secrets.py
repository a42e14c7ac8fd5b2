"""A host in the sandbox sees its own secrets, not another host's, and nothing that the agent logs in with."""

from dataclasses import replace
from pathlib import Path

import pytest

from repave_agent.clock import SystemClock
from repave_agent.core.host_secrets import HostSecret
from repave_agent.core.ports import HostSpec, RefusedError
from repave_agent.providers import memory
from repave_agent.providers.command import choose_sandbox
from repave_agent.providers.local.provider import LocalProvider
from repave_protos.package.archive import sha256_of
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, RegionName, SecretReference
from tests.fakes.templates import a_template
from tests.fakes.waiting import until_async

REFERENCES = (SecretReference("KEY", "file", "/x", as_file=True),)
SECRETS = (HostSecret("KEY", b"canary", as_file=True, origin="file /x"),)


def spec(package: Path, number: int, run: tuple[str, ...]) -> HostSpec:
    name, application = HostName(f"shop-v001-{number}"), ApplicationName("shop")
    template = a_template(run, secrets=REFERENCES)
    return HostSpec(name, GroupName("shop-v001"), application, sha256_of(package), template)


async def test_hosts_see_neither_each_other_s_secrets_nor_the_agent_s(package: Path, tmp_path: Path) -> None:
    sandbox, why = choose_sandbox("auto", tmp_path)
    if sandbox is None:
        pytest.skip(why)
    own = tmp_path / "etc" / "repave"
    (own / "secrets").mkdir(parents=True)
    (own / "token").write_text("the agent's")
    (own / "secrets" / "url").write_text("the agent's")
    provider = LocalProvider(
        tmp_path / "region",
        RegionName("here"),
        lambda: "ours",
        clock=SystemClock(),
        isolation="bwrap",
        private=(own / "token", own / "secrets"),
    )
    look = (
        f'cat "$1"; find /dev/shm {own} -type f; find {tmp_path} -name "host.json"; echo end; exec sleep 600'
    )
    hosts = []
    for number in (1, 2):
        asked = spec(package, number, ("sh", "-c", look.replace("$", "$$"), "-", "$KEY_FILE"))
        hosts.append(await provider.launch(asked, package, SECRETS))

    async def have_told() -> bool:
        return all([(await provider.log_tail(host.name, 9)).endswith("end") for host in hosts])

    await until_async(have_told)
    places = set()
    for host in hosts:
        said = await provider.log_tail(host.name, 9)
        assert said.startswith("canary/dev/shm/repave-secrets.")
        assert said.endswith("/file/KEY\nend")
        assert len(said.splitlines()) == 2
        places.add(said)
        await provider.destroy(host.name)
    assert len(places) == 2
    await provider.close()


async def test_without_a_sandbox_secrets_are_handed_over_only_where_an_operator_said_so(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no bwrap
    provider = LocalProvider(tmp_path / "region", RegionName("here"), lambda: "ours", clock=SystemClock())
    with pytest.raises(RefusedError) as caught:
        await provider.launch(spec(package, 1, ("sleep", "600")), package, SECRETS)
    assert str(caught.value).startswith("host.secrets: hosts have no sandbox here, so that one could read")
    assert "local.isolation: none" in str(caught.value)
    host = await provider.launch(
        replace(spec(package, 2, ("true",)), template=a_template(("true",))), package
    )
    await provider.destroy(host.name)
    await provider.close()


def test_a_folder_on_a_disk_holds_no_secret(tmp_path: Path) -> None:
    if memory._file_system(tmp_path) in memory.IN_MEMORY:
        pytest.skip("temporary files are in memory here")
    with pytest.raises(RefusedError, match="no file system in memory"):
        memory.make_memory(tmp_path)
    with pytest.raises(RefusedError, match="missing"):
        memory.make_memory(tmp_path / "gone")
    assert not list(tmp_path.glob("repave-secrets.*"))

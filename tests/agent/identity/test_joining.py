"""A machine becomes an agent and renews: over real HTTPS, with the controller's door and with impostors."""

import asyncio
import hashlib
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from repave_agent.core.ports import PackageAwaitedError
from repave_agent.identity import joining
from repave_agent.identity.identity import FILE, Identity, IdentityError, read, write
from repave_agent.identity.keeper import Keeper
from repave_agent.packages.cache import PackageCache
from repave_protos.protocol.values import Digest
from tests.agent.identity.test_keeper import never
from tests.fakes.clock import QuickClock
from tests.fakes.controller.door import DIGEST, PACKAGE, standing
from tests.support.ports import free_port


async def join(port: int, token: str) -> Identity:
    return await asyncio.to_thread(joining.join, f"https://127.0.0.1:{port}", token)


async def test_a_machine_joins_and_renews_with_a_fresh_key(tmp_path: Path) -> None:
    async with standing(tmp_path) as door:
        identity = await join(door.port, await door.enrolled.token("eu-1"))
        assert identity.says.region == "eu-1"
        assert (identity.url, identity.grpc) == (f"https://127.0.0.1:{door.port}", "127.0.0.1:7443")
        write(tmp_path / "agent", identity)
        assert read(tmp_path / "agent") == identity
        assert stat.S_IMODE((tmp_path / "agent" / FILE).stat().st_mode) == 0o600
        renewed = await asyncio.to_thread(joining.renew, identity, tmp_path / "agent")
        assert renewed.key != identity.key
        assert (renewed.says.region, renewed.says.agent) == ("eu-1", identity.says.agent)
        assert renewed.says.serial != identity.says.serial
        assert [each.name for each in (tmp_path / "agent").iterdir()] == [FILE], "no key lies about"


async def test_a_token_that_was_used_is_refused_in_the_controllers_words(tmp_path: Path) -> None:
    async with standing(tmp_path) as door:
        token = await door.enrolled.token()
        await join(door.port, token)
        with pytest.raises(
            IdentityError, match=r"this join token of paris was used \d+ s ago, from 127.0.0.1"
        ):
            await join(door.port, token)
        with pytest.raises(IdentityError, match="this is no join token; paste the line"):
            await join(door.port, token[:-1])


async def test_a_controller_that_did_not_make_the_token_gets_no_secret(tmp_path: Path) -> None:
    """A machine in between, with an authority of its own, is told nothing that it could use."""
    async with standing(tmp_path / "ours") as ours, standing(tmp_path / "theirs") as theirs:
        token = await ours.enrolled.token()
        with pytest.raises(IdentityError, match="is not the controller that made this token"):
            await join(theirs.port, token)
        await join(ours.port, token)


async def test_who_repeats_the_pinned_authority_without_its_key_is_found_out(tmp_path: Path) -> None:
    async with standing(tmp_path / "ours") as ours, standing(tmp_path / "theirs") as theirs:
        token = await ours.enrolled.token()
        pretended = type(theirs.enrolled.authority)
        theirs.enrolled.authority.__class__ = type(
            "Pretending", (pretended,), {"authorities": ours.enrolled.authority.authorities}
        )
        with pytest.raises(
            IdentityError, match="its certificate is not of the authority that this agent trusts"
        ):
            await join(theirs.port, token)
        await join(ours.port, token)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1", "https://127.0.0.1", "https://:1", "https://a:1/x", "https://a:99999", "x", ""],
)
def test_an_address_that_is_none_is_refused_before_a_packet_is_sent(url: str) -> None:
    with pytest.raises(IdentityError, match="is no address to join at; write https://HOST:PORT"):
        joining.join(url, f"rpj.{'a' * 43}.{'b' * 43}")


async def test_a_revoked_agent_can_not_renew_and_hears_why(tmp_path: Path) -> None:
    async with standing(tmp_path) as door:
        identity = await join(door.port, await door.enrolled.token())
        await door.enrolled.enrolment.revoke("paris", "", "ann")
        with pytest.raises(joining.RefusedError, match="was revoked by ann"):
            await asyncio.to_thread(joining.renew, identity, tmp_path)


async def test_packages_come_over_the_same_tls(tmp_path: Path) -> None:
    async with standing(tmp_path) as door:
        state = tmp_path / "agent"
        write(state, await join(door.port, await door.enrolled.token()))
        clock = QuickClock()
        keeper = Keeper(state, clock, joining.renew, lambda: 0.5, never, lambda _: None)
        cache = PackageCache(state / "images", connect=keeper.connect)
        cache.set_source(f"{keeper.identity.url}/v1/images")
        path = await cache.fetch(Digest(DIGEST))
        assert path.read_bytes() == PACKAGE
        cache.set_source(f"http://127.0.0.1:{door.port}/v1/images")
        with pytest.raises(PackageAwaitedError, match="it speaks TLS only"):
            await cache.fetch(Digest(hashlib.sha256(b"another").hexdigest()))
        await door.enrolled.enrolment.revoke("paris", "", "ann")
        cache.set_source(f"{keeper.identity.url}/v1/images")
        with pytest.raises(PackageAwaitedError, match="was revoked by ann"):
            await cache.fetch(Digest(hashlib.sha256(b"another").hexdigest()))


async def test_packages_come_from_no_controller_of_another_authority(tmp_path: Path) -> None:
    async with standing(tmp_path / "ours") as ours, standing(tmp_path / "theirs") as theirs:
        state = tmp_path / "agent"
        write(state, await join(ours.port, await ours.enrolled.token()))
        keeper = Keeper(state, QuickClock(), joining.renew, lambda: 0.5, never, lambda _: None)
        cache = PackageCache(state / "images", connect=keeper.connect)
        cache.set_source(f"https://127.0.0.1:{theirs.port}/v1/images")
        with pytest.raises(PackageAwaitedError, match="CERTIFICATE_VERIFY_FAILED"):
            await cache.fetch(Digest(DIGEST))


async def test_an_agent_that_speaks_plaintext_or_shows_nothing_gets_no_package(tmp_path: Path) -> None:
    async with standing(tmp_path) as door:
        cache = PackageCache(tmp_path / "images2")
        cache.set_source(f"http://127.0.0.1:{door.port}/v1/images")
        with pytest.raises(PackageAwaitedError):
            await cache.fetch(Digest(DIGEST))


async def test_a_machine_joins_at_the_first_of_several_controllers_that_is_there(tmp_path: Path) -> None:
    async with standing(tmp_path) as door:
        away, here = f"https://127.0.0.1:{free_port()}", f"https://127.0.0.1:{door.port}"
        token = await door.enrolled.token("eu-1")
        identity = await asyncio.to_thread(joining.join, f"{away},{here}", token)
        assert (identity.url, identity.others) == (here, (away,))
        assert identity.grpcs == ("127.0.0.1:7443", "127.0.0.1:7443")
        write(tmp_path / "agent", identity)
        assert read(tmp_path / "agent") == identity
        moved = replace(identity, url=away, others=(here,))
        renewed = await asyncio.to_thread(joining.renew, moved, tmp_path / "agent")
        assert (renewed.url, renewed.others) == (away, (here,))
        with pytest.raises(IdentityError, match="this join token of eu-1 was used"):
            await asyncio.to_thread(joining.join, f"{here},{away}", token)


async def test_where_no_controller_is_there_each_is_named(tmp_path: Path) -> None:
    async with standing(tmp_path) as door:
        token = await door.enrolled.token("eu-1")
    urls = [f"https://127.0.0.1:{free_port()}" for _ in range(2)]
    with pytest.raises(IdentityError) as refused:
        await asyncio.to_thread(joining.join, ",".join(urls), token)
    assert all(url in str(refused.value) for url in urls)


def test_packages_come_from_the_controller_that_the_agent_is_connected_to(tmp_path: Path) -> None:
    identity = Identity("https://c1:7444", "c1:7443", "", "", "", ("https://c2:7444",))
    assert identity.grpcs == ("c1:7443", "c2:7443")
    assert [identity.url_beside(each) for each in ("c1:7443", "c2:7443", "elsewhere:7443")] == [
        "https://c1:7444",
        "https://c2:7444",
        "https://c1:7444",
    ]

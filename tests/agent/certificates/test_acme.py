"""A real ACME server gives certificates: by HTTP-01 that a real HAProxy answers, by DNS-01 in a real BIND."""

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from acme.messages import RenewalInfo
from josepy.jwk import JWKEC
from josepy.util import ComparableECKey

from repave_agent.balancers.haproxy.challenges import challenge_rules
from repave_agent.certificates.account import account_key, thumbprint
from repave_agent.certificates.acme import AcmeServer
from repave_agent.certificates.options import AcmeOptions
from repave_agent.core.certificates import CertificateError
from repave_agent.dns.options import Rfc2136Options
from repave_agent.dns.rfc2136 import Rfc2136Records
from tests.fakes.agent.haproxy_rig import needs_haproxy
from tests.fakes.clock import QuickClock
from tests.support.bind import ZONE, bind, needs_bind
from tests.support.pebble import Pebble, needs_pebble, pebble

pytestmark = needs_pebble
EAB_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
NAMES = ("shop.example.com", "www.example.com")


def options_of(found: Pebble, **more: object) -> AcmeOptions:
    return AcmeOptions.model_validate(
        {"server": found.directory_url, "authority": found.authority, "agrees_to_terms": True, **more}
    )


@asynccontextmanager
async def answering(directory: Path, port: int, account: Path) -> AsyncIterator[None]:
    """A HAProxy that answers as our fronts do."""
    rules = "\n  ".join(challenge_rules(thumbprint(account_key(account, may_make=True)), NAMES))
    (directory / "haproxy.cfg").write_text(
        f"defaults\n  mode http\n  timeout client 5s\nfrontend web\n  bind 127.0.0.1:{port}\n  {rules}\n"
    )
    process = await asyncio.create_subprocess_exec(
        "haproxy", "-q", "-db", "-f", str(directory / "haproxy.cfg")
    )
    try:
        while True:
            with contextlib.suppress(OSError):
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                break
            await asyncio.sleep(0.02)
        yield
    finally:
        process.kill()
        await process.wait()


def test_the_thumbprint_is_what_servers_reckon(tmp_path: Path) -> None:
    file = tmp_path / "account" / "key.pem"
    key = account_key(file, may_make=True)
    expected = JWKEC(key=ComparableECKey(key)).thumbprint()
    assert thumbprint(key) == base64.urlsafe_b64encode(expected).rstrip(b"=").decode()
    assert (
        account_key(tmp_path / "account" / "key.pem", may_make=False).private_numbers()
        == key.private_numbers()
    )
    assert (tmp_path / "account" / "key.pem").stat().st_mode & 0o777 == 0o600


@needs_haproxy
async def test_an_answer_that_can_not_be_read_says_nothing_of_a_renewal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it end the agent."""
    account = tmp_path / "account" / "key.pem"
    async with pebble(tmp_path / "pebble") as found, answering(tmp_path, found.http_port, account):
        server = AcmeServer(options_of(found), account, None, QuickClock())
        shown = await server.order(NAMES, "http-01")
        window: dict[str, object] = {"start": 5, "end": 6}
        answers: tuple[object, ...] = (None, [], {"suggestedWindow": None}, {"suggestedWindow": window})
        for odd in answers:
            monkeypatch.setattr(
                "acme.client.ClientV2.renewal_time", lambda *_, odd=odd: RenewalInfo.from_json(odd)
            )
            assert (await server.renewal(shown)).at is None


@needs_haproxy
async def test_a_certificate_comes_by_http_01_and_the_next_one_has_another_key(tmp_path: Path) -> None:
    account = tmp_path / "account" / "key.pem"
    async with pebble(tmp_path / "pebble") as found, answering(tmp_path, found.http_port, account):
        server = AcmeServer(options_of(found, contacts=["ops@example.com"]), account, None, QuickClock())
        first = await server.order(NAMES, "http-01")
        again = await server.order(("shop.example.com",), "http-01")
        renewal = await server.renewal(again)
    assert set(first.facts.names) == {"shop.example.com", "www.example.com"}
    assert again.facts.names == ("shop.example.com",)
    assert renewal.at is None, "this server says nothing of it"
    assert renewal.ask_again_at > time.time()
    assert (await server.renewal(again)).at is None, "nor does one that is away"
    assert first.text.count(b"BEGIN CERTIFICATE") >= 2, "the chain is part of it"
    keys = {pem.text[pem.text.index(b"BEGIN PRIVATE KEY") :] for pem in (first, again)}
    assert len(keys) == 2


@needs_haproxy
async def test_a_server_that_takes_known_accounts_only_is_shown_whose_this_is(tmp_path: Path) -> None:
    account, key = tmp_path / "account" / "key.pem", tmp_path / "eab.key"
    key.write_text(f"{EAB_KEY}\n")
    known = {"eab_key_id": "ours", "eab_key_file": key}
    async with (
        pebble(tmp_path / "pebble", known={"ours": EAB_KEY}) as found,
        answering(tmp_path, found.http_port, account),
    ):
        with pytest.raises(CertificateError, match=r"refuses it: .*externalAccountBinding"):
            await AcmeServer(options_of(found), account, None, QuickClock()).order(NAMES, "http-01")
        server = AcmeServer(options_of(found, **known), account, None, QuickClock())
        for _ in range(2):  # the second time the account is there
            assert set((await server.order(NAMES, "http-01")).facts.names) == set(NAMES)


@needs_bind
async def test_a_wildcard_comes_by_dns_01_and_leaves_no_record(tmp_path: Path) -> None:
    async with bind(tmp_path / "bind") as names, pebble(tmp_path / "pebble", names.port) as found:
        options = Rfc2136Options(server=names.server, key_file=names.key_file("paris"))
        records = Rfc2136Records("paris", lambda: "home", options, ZONE, 60)
        account = tmp_path / "account" / "key.pem"
        account_key(account, may_make=True)
        server = AcmeServer(options_of(found), account, records, QuickClock())
        given = await server.order((f"shop.{ZONE}", f"*.shop.{ZONE}"), "dns-01")
        assert set(given.facts.names) == {f"shop.{ZONE}", f"*.shop.{ZONE}"}
        assert await names.addresses("_acme-challenge.shop", "TXT") == set()
        with pytest.raises(CertificateError, match=r"record for dns-01 can't be set: .*update-policy"):
            await server.order((f"www.{ZONE}",), "dns-01")


async def test_what_the_server_does_not_see_is_told_by_name(tmp_path: Path) -> None:
    account = tmp_path / "account" / "key.pem"
    account_key(account, may_make=True)
    async with pebble(tmp_path / "pebble") as found:
        server = AcmeServer(options_of(found, names=["*.example.com"]), account, None, QuickClock())
        with pytest.raises(CertificateError, match=r"refuses it: shop\.example\.com: .*connection refused"):
            await server.order(("shop.example.com",), "http-01")
        with pytest.raises(CertificateError, match=r"asks for no certificate of bank\.test: .*names has \*"):
            await server.order(("bank.test",), "http-01")
        with pytest.raises(CertificateError, match=r"certificate of names only: say match\.host"):
            await server.order((), "http-01")
    with pytest.raises(CertificateError, match="no answer that can be used") as away:
        await server.order(("shop.example.com",), "http-01")
    assert away.value.is_awaited

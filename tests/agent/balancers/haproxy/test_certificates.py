"""Certificates of fronts on the real HAProxy: replaced under load, spoilt, missing, of a real ACME server."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from repave_agent.balancers.haproxy.balancer import HaproxyBalancer
from repave_agent.balancers.haproxy.options import HaproxyOptions
from repave_agent.balancers.haproxy.process import HaproxyProcess
from repave_agent.certificates.account import account_key, thumbprint
from repave_agent.certificates.acme import AcmeServer
from repave_agent.certificates.keeper import Keeper, Orders
from repave_agent.certificates.options import AcmeOptions, CertificatesOptions
from repave_agent.certificates.pem import Pem
from repave_agent.certificates.reading import CertificateReader
from repave_agent.certificates.sources import FilesBelow
from repave_agent.clock import SystemClock
from repave_agent.core.certificates import Renewal
from repave_agent.core.ports import Backend, Frontend, Route, Structure, UnfitError
from repave_protos.protocol.certificate_places import CertificateReference
from repave_protos.protocol.fronts import TrafficFront
from repave_protos.protocol.values import ApplicationName
from tests.fakes.agent.haproxy_rig import HaproxyRig, backend, needs_haproxy
from tests.fakes.clock import QuickClock
from tests.fakes.waiting import until
from tests.support.certificates import new_authority
from tests.support.pebble import Pebble, needs_pebble, pebble
from tests.support.ports import free_port

pytestmark = needs_haproxy

AUTHORITY = new_authority()
TRUST = ssl.create_default_context(cadata=AUTHORITY.pem)
NO_TRUST = ssl.create_default_context()
NO_TRUST.check_hostname, NO_TRUST.verify_mode = False, ssl.CERT_NONE
SHOP, BLOG = "shop.example.com", "blog.example.com"


@dataclass
class NoServer:
    """Implements Orders: nobody asks it."""

    asked: list[Sequence[str]] = field(default_factory=list)

    async def order(self, names: Sequence[str], challenge: str) -> Pem:
        raise AssertionError("no ACME server is asked here")

    async def renewal(self, shown: Pem) -> Renewal:
        raise AssertionError("no ACME server is asked here")


class Stage:
    """A balancer with a keeper of certificates, as an agent has them, and applications behind it."""

    def __init__(self, rig: HaproxyRig, orders: Orders, account: str = "") -> None:
        self.rig, self.given, self.clock = rig, rig.directory / "given", QuickClock()
        self.given.mkdir()
        options = CertificatesOptions(folder=self.given)
        reader = CertificateReader((FilesBelow(options.folder, options.allow),), "paris")
        shown = rig.directory / "shown"
        self.keeper = Keeper(shown, reader, self.clock, lambda: None, lambda: orders, account)
        self.port = free_port()
        self.structure = Structure()
        self.routes: tuple[Route, ...] = ()
        self.balancer = HaproxyBalancer(
            rig.directory / "h", HaproxyOptions(), clock=SystemClock(), certificates=self.keeper
        )
        rig.balancers.append(self.balancer)

    def put(self, application: str, *names: str, **life: Any) -> bytes:
        text = AUTHORITY.combined(*names, **life)
        (self.given / f"{application}.pem").write_bytes(text)
        return text

    def front(
        self,
        application: str,
        host: str,
        redirect_from: int = 0,
        source: str = "file",
        names: tuple[str, ...] = (),
    ) -> TrafficFront:
        where = str(self.given / f"{application}.pem") if source == "file" else "http-01"
        reference = CertificateReference(source, where, names)
        return TrafficFront(
            "web", self.port, "https", certificate=reference, host=host, redirect_from=redirect_from
        )

    async def add(self, application: str, front: TrafficFront) -> None:
        await self.add_all({application: front})

    async def add_all(self, fronts: Mapping[str, TrafficFront]) -> None:
        frontends, groups, routes = [], list[Backend](), []
        for each, front in fronts.items():
            web = await self.rig.web(each)
            groups.append(backend(f"{each}-v001", web.port))
            frontends.append(Frontend(ApplicationName(each), front.port, fronts=(front,)))
            routes.append(Route(ApplicationName(each), groups[-1].group))
        wanted = Structure((*self.structure.frontends, *frontends), (*self.structure.backends, *groups))
        await self.balancer.arrange(wanted)
        self.structure, self.routes = wanted, (*self.routes, *routes)
        await self.balancer.route(self.routes)

    async def later(self) -> list[str]:
        """The next look at all places, and what people are told then."""
        self.clock.slept += 61.0
        await self.keeper.tend(self.balancer)
        await asyncio.gather(*self.keeper.under_way)
        await self.keeper.tend(self.balancer)
        return await self.keeper.troubles()

    def reloads(self) -> int:
        found = [
            HaproxyProcess(self.rig.directory / each, "haproxy", SystemClock().monotonic)
            for each in ("h", "h/2")
        ]
        return sum(each.socket.workers().reloads for each in found)

    async def ask(self, host: str, trust: ssl.SSLContext = TRUST) -> tuple[str, x509.Certificate]:
        """Who answers a new connection, and the certificate that it shows. Raises OSError."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=trust, server_hostname=host
        )
        try:
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = (await reader.read()).decode()
        finally:
            writer.close()
        assert answer.startswith("HTTP/1.1 200"), answer
        return answer.rpartition("\r\n\r\n")[2].strip(), x509.load_der_x509_certificate(shown)


def serial(pem: bytes) -> int:
    return x509.load_pem_x509_certificate(pem).serial_number


@dataclass
class Clients:
    """Each asks on a new connection, again and again; the first error ends the test."""

    stage: Stage
    host: str
    serials: list[int] = field(default_factory=list)
    is_over: bool = False

    async def run(self) -> None:
        while not self.is_over:
            _, certificate = await self.stage.ask(self.host)
            self.serials.append(certificate.serial_number)

    async def sees(self, wanted: int) -> None:
        """Until a client was shown it that came after now."""
        begun = len(self.serials)
        await until(lambda: wanted in self.serials[begun:])


@pytest.fixture
async def stage(rig: HaproxyRig) -> Stage:
    made = Stage(rig, NoServer())
    await made.balancer.start()
    return made


async def test_certificates_are_replaced_under_load_without_a_reload_or_a_failure(stage: Stage) -> None:
    first = stage.put("shop", SHOP)
    await stage.add("shop", stage.front("shop", SHOP))
    clients = Clients(stage, SHOP)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(clients.run())
        await clients.sees(serial(first))
        reloads = stage.reloads()
        for _ in range(3):
            newer = stage.put("shop", SHOP)
            assert await stage.later() == []
            await clients.sees(serial(newer))
        assert stage.reloads() == reloads
        (stage.given / "shop.pem").write_text("spoilt")
        assert "no certificate in it" in (await stage.later())[0]
        await stage.add("other", TrafficFront("plain", free_port()))  # costs a reload
        assert stage.reloads() > reloads
        await clients.sees(serial(newer))
        clients.is_over = True
    assert len(set(clients.serials)) == 4
    for _ in range(8):  # each of the two HAProxys
        assert (await stage.ask(SHOP))[1].serial_number == serial(newer)


async def test_the_mistake_of_one_application_never_touches_another_at_its_port(stage: Stage) -> None:
    blog = stage.put("blog", BLOG)
    await stage.add("blog", stage.front("blog", BLOG))
    with pytest.raises(UnfitError) as caught:
        await stage.add("shop", stage.front("shop", SHOP))
    assert list(caught.value.frontends) == ["shop"]
    assert "there is no such file" in str(caught.value)
    shop = stage.put("shop", SHOP)
    await stage.add("shop", stage.front("shop", SHOP))
    for host, application, pem in ((SHOP, "shop", shop), (BLOG, "blog", blog)):
        answer, certificate = await stage.ask(host)
        assert (answer, certificate.serial_number) == (application, serial(pem))
    (stage.given / "shop.pem").write_bytes(AUTHORITY.combined(SHOP, days=0.5))  # it has ended
    newer = stage.put("blog", BLOG)
    [told] = await stage.later()
    assert told.startswith("shop: ")
    assert (await stage.ask(BLOG))[1].serial_number == serial(newer)
    assert (await stage.ask(SHOP))[1].serial_number == serial(shop)


async def test_each_application_at_a_port_shows_its_own_certificate_alone(stage: Stage) -> None:
    """However many there are, whatever names the others' have, and whichever kind of key clients prefer."""
    fronts, shown = {}, {}
    for number in range(30):
        host = f"s{number}.example.com"
        shown[host] = stage.put(f"s{number}", host)
        fronts[f"s{number}"] = stage.front(f"s{number}", host)
    stage.put("a", "*.example.com", SHOP, BLOG)
    shown["any.example.com"] = stage.put("wide", "*.example.com", SHOP, BLOG)
    shown[SHOP] = stage.put("shop", SHOP, key=rsa.generate_private_key(65537, 2048))
    fronts |= {"wide": stage.front("wide", "*.example.com"), "shop": stage.front("shop", SHOP)}
    fronts["a"] = replace(stage.front("a", SHOP), path="/api")
    await stage.add_all(fronts)
    for host, pem in shown.items():
        assert (await stage.ask(host))[1].serial_number == serial(pem), host
    for other in ("www.example.org", "a.b.example.com"):
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            await stage.ask(other, NO_TRUST)
    stage.put("a", "*.example.com", SHOP, BLOG)
    newer = stage.put("shop", SHOP)
    reloads = stage.reloads()
    assert await stage.later() == []
    assert (await stage.ask(SHOP))[1].serial_number == serial(newer)
    assert stage.reloads() == reloads, "also of one that gives way to another front's nobody need be told"
    lists = list((stage.rig.directory / "h").glob("certificates-*"))
    await stage.add("blog", stage.front("blog", BLOG, free_port(), "acme"))
    assert len(lists) == len(list((stage.rig.directory / "h").glob("certificates-*"))) == 1
    assert (await stage.ask(SHOP))[1].serial_number == serial(newer)


async def test_questions_of_an_acme_server_are_answered_for_the_names_of_who_asked_it_only(
    rig: HaproxyRig,
) -> None:
    """At a port that others have, too: they may prove themselves in a way of their own."""
    stage, plain = Stage(rig, NoServer(), "thumbprint"), free_port()
    await stage.balancer.start()
    stage.put("blog", BLOG)
    await stage.add("blog", stage.front("blog", BLOG, plain))
    names = ("www.example.com", BLOG)
    await stage.add("shop", stage.front("shop", SHOP, plain, "acme", names))

    async def asked(host: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", plain)
        path = "/.well-known/acme-challenge/a-token"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        return body or head.split()[1]

    for own in (SHOP, "Shop.Example.com", f"{SHOP}:80", "www.example.com"):
        assert await asked(own) == "a-token.thumbprint"
    assert await asked(BLOG) == "301"
    assert "no application has this address" in await asked("other.example.com")


async def test_one_that_is_too_large_for_the_socket_comes_by_a_reload(stage: Stage) -> None:
    stage.put("shop", SHOP)
    await stage.add("shop", stage.front("shop", SHOP))
    await stage.later()
    reloads = stage.reloads()
    large = stage.put("shop", SHOP, *(f"host-{number:04}.of.shop.example.com" for number in range(500)))
    assert await stage.later() == []
    assert stage.reloads() == reloads + 2
    assert (await stage.ask(SHOP))[1].serial_number == serial(large)
    await stage.later()
    assert stage.reloads() == reloads + 2, "it is known by now"


async def test_an_agent_that_was_cut_off_before_haproxy_knew_tells_it(stage: Stage) -> None:
    stage.put("shop", SHOP)
    await stage.add("shop", stage.front("shop", SHOP))
    await stage.later()
    newer = stage.put("shop", SHOP)
    stage.clock.slept += 61.0
    await stage.keeper._look(stage.keeper._kept["shop.web.pem"])  # and no more
    assert (await stage.ask(SHOP))[1].serial_number != serial(newer)
    await stage.balancer.close()
    after = HaproxyBalancer(
        stage.rig.directory / "h", HaproxyOptions(), clock=SystemClock(), certificates=stage.keeper
    )
    stage.rig.balancers.append(after)
    await after.start()
    await after.show_certificates()
    assert (await stage.ask(SHOP))[1].serial_number == serial(newer)


@needs_pebble
async def test_a_front_gets_its_certificate_of_a_real_acme_server_through_itself(
    rig: HaproxyRig, tmp_path: Path
) -> None:
    account = tmp_path / "account" / "key.pem"
    name = thumbprint(account_key(account, may_make=True))
    async with pebble(tmp_path / "pebble") as found:
        stage = Stage(rig, _server(found, account), name)
        await stage.balancer.start()
        await stage.add("shop", stage.front("shop", SHOP, found.http_port, "acme"))
        with pytest.raises(ssl.SSLError):
            await stage.ask(SHOP)
        assert await stage.later() == []
        answer, certificate = await stage.ask(SHOP, NO_TRUST)
    assert answer == "shop"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [SHOP]


def _server(found: Pebble, account: Path) -> AcmeServer:
    options = AcmeOptions.model_validate(
        {"server": found.directory_url, "authority": found.authority, "agrees_to_terms": True}
    )
    return AcmeServer(options, account, None, QuickClock())

"""Certificates of fronts are kept as files that are always there: what is shown, what is told, what stays."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from repave_agent.certificates.keeper import FIRST_SECONDS_MAX, NO_ANSWER, Keeper
from repave_agent.certificates.options import CertificatesOptions
from repave_agent.certificates.pem import Pem, is_placeholder, read_pem
from repave_agent.certificates.reading import CertificateReader
from repave_agent.certificates.sources import FilesBelow
from repave_agent.core.certificates import CertificateError, Renewal, WantedCertificate
from repave_agent.core.host_secrets import Lack, SecretError
from repave_agent.core.ports import BalancerError
from repave_agent.secrets.source import Found
from repave_protos.protocol.certificate_places import CertificateReference
from repave_protos.protocol.values import ApplicationName
from tests.fakes.clock import QuickClock
from tests.fakes.waiting import until
from tests.support.certificates import new_authority

AUTHORITY = new_authority()
HOST = "shop.example.com"


class Showing:
    """Implements ShowsCertificates."""

    def __init__(self) -> None:
        self.times, self.fails = 0, False

    async def show_certificates(self) -> None:
        if self.fails:
            raise BalancerError("it is dead")
        self.times += 1


@dataclass
class AVault:
    """Implements Source."""

    name: str = "vault"
    rules: tuple[str, ...] = ("kv/{application}/*",)
    value: bytes | None = None
    answers: asyncio.Event | None = None  # not before it is set
    asked: int = 0

    def ruled(self, where: str) -> str:
        return where.partition("#")[0]

    async def find(self, where: str) -> Found:
        self.asked += 1
        if self.answers is not None:
            await self.answers.wait()
        if self.value is None:
            raise SecretError(Lack.SEALED, "Vault is sealed")
        return Found(self.value)

    def trouble(self) -> str:
        return ""

    async def run(self) -> None: ...

    async def close(self) -> None: ...


@dataclass
class AServer:
    """Implements Orders."""

    asked: list[Sequence[str]] = field(default_factory=list)
    why_not: str = ""
    days: float = 90
    begins: float = 0
    answers: asyncio.Event | None = None  # not before it is set
    renews_at: float | None = None
    asked_when: int = 0

    async def renewal(self, shown: Pem) -> Renewal:
        self.asked_when += 1
        return Renewal(self.renews_at, time.time() + self.asked_when * 86_400.0)

    async def order(self, names: Sequence[str], challenge: str) -> Pem:
        self.asked.append(tuple(names))
        if self.answers is not None:
            await self.answers.wait()
        if self.why_not:
            raise CertificateError(self.why_not)
        return read_pem(AUTHORITY.combined(*names, begins=self.begins, days=self.days))


class Rig:
    def __init__(self, tmp_path: Path) -> None:
        self.folder, self.given = tmp_path / "shown", tmp_path / "given"
        self.given.mkdir()
        self.clock, self.vault, self.server, self.balancer = QuickClock(), AVault(), AServer(), Showing()
        self.keeper = self.begin()

    def begin(self, patience_seconds: float = FIRST_SECONDS_MAX) -> Keeper:
        """An agent that begins."""
        options = CertificatesOptions(folder=self.given)
        files = [FilesBelow(options.folder, options.allow, is_directory=each) for each in (False, True)]
        reader = CertificateReader((*files, self.vault), "paris")
        self.keeper = Keeper(
            self.folder,
            reader,
            self.clock,
            lambda: None,
            lambda: self.server,
            patience_seconds=patience_seconds,
        )
        return self.keeper

    def wanted(
        self, source: str, where: str, application: str = "shop", host: str = HOST
    ) -> WantedCertificate:
        reference = CertificateReference(source, where)
        return WantedCertificate(ApplicationName(application), "web", reference, (host,))

    def file(self, name: str = "shop.pem", application: str = "shop", host: str = HOST) -> WantedCertificate:
        return self.wanted("file", str(self.given / name), application, host)

    def put(self, content: bytes, name: str = "shop.pem") -> None:
        (self.given / name).parent.mkdir(exist_ok=True)
        (self.given / name).write_bytes(content)

    def shown(self, application: str = "shop") -> Pem:
        return read_pem((self.folder / f"{application}.web.pem").read_bytes())

    async def provide(self, wanted: Sequence[WantedCertificate]) -> Mapping[ApplicationName, str]:
        """As a balancer does."""
        await self.keeper.fetch(wanted)
        return await self.keeper.provide(wanted)

    async def later(self, seconds: float = 61.0) -> list[str]:
        """What is told then."""
        self.clock.slept += seconds
        await self.keeper.tend(self.balancer)
        await asyncio.gather(*self.keeper.under_way)
        await self.keeper.tend(self.balancer)
        return await self.keeper.troubles()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_a_file_is_shown_and_a_newer_one_soon_after(rig: Rig) -> None:
    first, second = AUTHORITY.combined(HOST), AUTHORITY.combined(HOST)
    rig.put(first)
    assert await rig.provide([rig.file()]) == {}
    assert rig.shown() == read_pem(first)
    assert (rig.folder / "shop.web.pem").stat().st_mode & 0o777 == 0o600
    assert await rig.later() == []
    times = rig.balancer.times
    rig.put(second)
    assert await rig.later() == []
    assert rig.shown() == read_pem(second)
    assert rig.balancer.times == times + 1
    [(of, ends_at)] = rig.keeper.ends()
    assert of == ("shop", "web")
    assert ends_at == rig.shown().facts.ends_at


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        (b"nothing", "there is no certificate in it"),
        (AUTHORITY.combined(HOST, days=0.5), "the former goes on: it has ended"),
        (AUTHORITY.combined("www.example.com"), "the former goes on: it is of www.example.com and not of"),
    ],
)
async def test_a_good_one_goes_on_while_what_is_there_is_spoilt(rig: Rig, spoilt: bytes, why: str) -> None:
    good = AUTHORITY.combined(HOST)
    rig.put(good)
    await rig.provide([rig.file()])
    rig.put(spoilt)
    [told] = await rig.later()
    assert told.startswith("shop: traffic.fronts: web: certificate (file /")
    assert why in told
    assert rig.shown() == read_pem(good)
    assert await rig.provide([rig.file()]) == {}, "so nobody is refused"


async def test_the_last_good_one_outlives_the_agent_and_where_it_was_kept(rig: Rig) -> None:
    rig.vault.value = AUTHORITY.combined(HOST)
    wanted = rig.wanted("vault", "kv/shop/tls#pem")
    assert await rig.provide([wanted]) == {}
    shown, rig.vault.value = rig.shown(), None
    rig.begin()
    assert await rig.provide([wanted]) == {}
    assert ["Vault is sealed" in told for told in await rig.later()] == [True]
    assert rig.shown() == shown
    (rig.folder / "shop.web.pem").unlink()
    await rig.later()
    assert rig.shown() == shown, "a file that somebody removed is back, for the next start of the balancer"


async def test_a_front_without_any_is_refused_by_name_and_others_are_not(rig: Rig) -> None:
    rig.put(AUTHORITY.combined("blog.example.com"), "blog.pem")
    blog = rig.file("blog.pem", "blog", "blog.example.com")
    lacks = await rig.provide([rig.file(), blog])
    assert list(lacks) == ["shop"]
    assert "there is no such file" in lacks[ApplicationName("shop")]
    assert is_placeholder(rig.shown().facts), "the balancer starts all the same"
    rig.put(AUTHORITY.combined(HOST))
    assert await rig.provide([rig.file(), blog]) == {}


@pytest.mark.parametrize(
    ("source", "where", "why"),
    [
        ("file", "/etc/shadow", "not below .*certificates.folder"),
        ("file", "{given}/blog.pem", "shop may not show it by this agent's settings: certificates.allow has"),
        ("file", "{given}/shop/../blog.pem", "write the path without"),
        ("vault", "kv/blog/tls#pem", "secrets.vault.allow has kv/{application}"),
        ("directory", "{given}/shop", "neither fullchain.pem with privkey.pem nor tls.crt with tls.key"),
        ("file", "{given}/shop/link.pem", "not below .*copy it there"),
        ("file", "{given}/shop/open.pem", "chmod o-w"),
    ],
)
async def test_what_an_application_may_not_show_is_not_read(
    rig: Rig, source: str, where: str, why: str, tmp_path: Path
) -> None:
    rig.put(AUTHORITY.combined(HOST), "blog.pem")
    rig.put(AUTHORITY.combined(HOST), "shop/open.pem")
    (rig.given / "shop/open.pem").chmod(0o666)
    (tmp_path / "outside.pem").write_bytes(AUTHORITY.combined(HOST))
    (rig.given / "shop/link.pem").symlink_to(tmp_path / "outside.pem")
    wanted = rig.wanted(source, where.replace("{given}", str(rig.given)))
    lacks = await rig.provide([wanted])
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(lacks[ApplicationName("shop")])


async def test_a_place_that_does_not_answer_keeps_others_waiting_once_at_most(rig: Rig) -> None:
    rig.vault.value, rig.vault.answers = AUTHORITY.combined(HOST), asyncio.Event()
    wanted, blog = rig.wanted("vault", "kv/shop/tls#pem"), rig.file("blog.pem", "blog", "blog.example.com")
    rig.put(AUTHORITY.combined("blog.example.com"), "blog.pem")
    await rig.provide([blog])
    rig.begin(patience_seconds=0.01)
    for _ in range(3):
        lacks = await rig.provide([wanted, blog])
        assert lacks == {"shop": f"{wanted}: {NO_ANSWER}"}
        assert await rig.provide([blog]) == {}, "the balancer goes on without it"
    assert rig.vault.asked == 1
    rig.vault.answers.set()
    await rig.keeper._readings["shop.web.pem"].task
    assert await rig.provide([wanted, blog]) == {}
    assert rig.shown() == read_pem(rig.vault.value)
    assert rig.keeper._readings == {}


async def test_a_place_that_does_not_answer_holds_up_the_look_at_no_other(rig: Rig) -> None:
    rig.vault.value = AUTHORITY.combined(HOST)
    rig.put(AUTHORITY.combined("blog.example.com"), "blog.pem")
    blog = rig.file("blog.pem", "blog", "blog.example.com")
    await rig.provide([rig.wanted("vault", "kv/shop/tls#pem"), blog])
    rig.vault.answers = asyncio.Event()
    for _ in range(3):
        newer = AUTHORITY.combined("blog.example.com")
        rig.put(newer, "blog.pem")
        await rig.later()
        assert rig.shown("blog") == read_pem(newer)
    assert rig.vault.asked == 2
    rig.vault.answers.set()
    await rig.keeper._looks["shop.web.pem"]


async def test_a_directory_is_read_as_certbot_and_kubernetes_make_it(rig: Rig) -> None:
    for number, pair in enumerate((("fullchain.pem", "privkey.pem"), ("tls.crt", "tls.key"))):
        text, folder = AUTHORITY.combined(HOST), rig.given / "shop"
        cut = text.index(b"-----BEGIN PRIVATE")
        real = rig.given / f"archive-{number}"
        real.mkdir()
        (real / pair[0]).write_bytes(text[:cut])
        (real / pair[1]).write_bytes(text[cut:])
        folder.unlink(missing_ok=True)
        folder.symlink_to(real)
        assert await rig.provide([rig.wanted("directory", str(folder))]) == {}
        await rig.later()
        assert rig.shown() == read_pem(text)


async def test_its_end_is_told_before_the_day(rig: Rig) -> None:
    rig.put(AUTHORITY.combined(HOST, days=90))
    await rig.provide([rig.file()])
    day = 86_400.0
    assert await rig.later(60 * day) == []
    [note] = await rig.later(10 * day)
    assert note.startswith("note: shop: ")
    assert "it ends in 19 days" in note
    [trouble] = await rig.later(14 * day)
    assert trouble.startswith("shop: ")
    [ended] = await rig.later(10 * day)
    assert "clients refuse it" in ended


async def test_what_the_balancer_did_not_take_it_is_told_again(rig: Rig) -> None:
    rig.put(AUTHORITY.combined(HOST))
    await rig.provide([rig.file()])
    rig.balancer.fails = True
    assert "does not take those that are new: it is dead" in (await rig.later())[0]
    rig.balancer.fails = False
    assert await rig.later() == []
    assert rig.balancer.times == 1


async def test_files_of_fronts_that_are_gone_go_once_the_balancer_has_none_of_them(rig: Rig) -> None:
    rig.put(AUTHORITY.combined(HOST))
    await rig.provide([rig.file()])
    rig.keeper.arranged()
    await rig.later()
    await rig.provide([])
    await rig.later()
    assert (rig.folder / "shop.web.pem").exists()
    rig.keeper.arranged()
    await rig.later()
    assert not (rig.folder / "shop.web.pem").exists()


async def test_nothing_of_them_is_left_in_a_region_that_is_given_up(rig: Rig) -> None:
    rig.put(AUTHORITY.combined(HOST))
    await rig.provide([rig.file()])
    rig.keeper.remove_all()
    assert not rig.folder.exists()
    assert (rig.given / "shop.pem").exists()


async def test_one_of_an_acme_server_is_asked_for_once_the_front_is_there_and_renewed_in_time(
    rig: Rig,
) -> None:
    wanted = rig.wanted("acme", "http-01")
    assert await rig.provide([wanted]) == {}, "the front has to be there first"
    assert is_placeholder(rig.shown().facts)
    assert "there is none yet" in (await rig.later())[0]
    assert rig.server.asked == []
    rig.keeper.arranged()
    assert await rig.later() == []
    first = rig.shown()
    assert rig.server.asked == [(HOST,)]
    rig.begin()
    await rig.provide([wanted])
    rig.keeper.arranged()
    await rig.later(59 * 86_400.0)
    assert len(rig.server.asked) == 1, "an agent that begins anew asks for none that is there"
    await rig.later(2 * 86_400.0)
    assert len(rig.server.asked) == 2
    assert rig.shown() != first


async def test_a_certificate_is_renewed_when_its_server_says_so_sooner_or_later(rig: Rig) -> None:
    await rig.provide([rig.wanted("acme", "http-01")])
    rig.keeper.arranged()
    await rig.later()
    begun, day = time.time(), 86_400.0
    rig.server.renews_at = begun + 70 * day
    await rig.later(65 * day)
    assert len(rig.server.asked) == 1, "two thirds of its life are over, and the server says later"
    rig.server.renews_at, rig.server.begins = begun + 60 * day, 66  # many are withdrawn, say
    await rig.later(day)
    assert len(rig.server.asked) == 2
    rig.server.renews_at = begun + 1000 * day
    await rig.later(80 * day)
    assert len(rig.server.asked) == 2
    await rig.later(4 * day)
    assert len(rig.server.asked) == 3, "but not when its end would be a trouble"


async def test_a_server_that_says_at_once_of_each_is_asked_for_one_in_six_hours(rig: Rig) -> None:
    rig.server.renews_at = 0.0
    await rig.provide([rig.wanted("acme", "http-01")])
    rig.keeper.arranged()
    for _ in range(10):
        await rig.later()
    assert (len(rig.server.asked), rig.server.asked_when) == (1, 0)
    await rig.later(6 * 3600.0)
    assert len(rig.server.asked) == 2


async def test_a_server_is_not_asked_all_the_time_when_to_renew_whatever_it_says(rig: Rig) -> None:
    rig.server.renews_at, rig.server.asked_when = time.time() + 80 * 86_400.0, -10
    await rig.provide([rig.wanted("acme", "http-01")])
    rig.keeper.arranged()
    await rig.later()
    await rig.later(7 * 3600.0)
    for _ in range(20):
        await rig.later(10.0)
    assert rig.server.asked_when == -9


async def test_a_server_that_gives_none_is_asked_less_and_less_often(rig: Rig) -> None:
    rig.server.why_not = "the ACME server refuses it: shop.example.com: unauthorized"
    await rig.provide([rig.wanted("acme", "http-01")])
    rig.keeper.arranged()
    told = await rig.later()
    assert "unauthorized; it is asked again in 1 min" in told[0]
    for pause in (50.0, 20.0, 100.0, 30.0):
        await rig.later(pause)
    assert len(rig.server.asked) == 3
    await rig.later(2 * 86_400.0)
    rig.server.why_not = ""
    assert await rig.later(6 * 3600.0 + 1) == []


async def test_names_that_a_front_gains_are_asked_for(rig: Rig) -> None:
    wanted = rig.wanted("acme", "dns-01")
    await rig.provide([wanted])
    rig.keeper.arranged()
    await rig.later()
    more = CertificateReference("acme", "dns-01", ("www.example.com",))
    await rig.provide([WantedCertificate(wanted.application, "web", more, (HOST,))])
    rig.keeper.arranged()
    await rig.later()
    assert rig.server.asked[-1] == (HOST, "www.example.com")
    assert rig.shown().facts.names == (HOST, "www.example.com")


async def test_a_front_that_changes_while_it_is_asked_for_is_asked_for_anew(rig: Rig) -> None:
    wanted, other = rig.wanted("acme", "http-01"), rig.wanted("acme", "http-01", host="www.example.com")
    rig.server.answers = asyncio.Event()
    await rig.provide([wanted])
    rig.keeper.arranged()
    await rig.keeper.tend(rig.balancer)
    await until(lambda: rig.server.asked == [(HOST,)])
    await rig.provide([other])
    rig.keeper.arranged()
    rig.server.answers.set()
    await asyncio.gather(*rig.keeper.under_way)
    assert is_placeholder(rig.shown().facts), "it is of the name that the front had"
    assert await rig.later() == []
    assert rig.shown().facts.names == ("www.example.com",)


async def test_what_a_server_gives_that_can_not_be_shown_counts_as_none(rig: Rig) -> None:
    await rig.provide([rig.wanted("acme", "http-01")])
    rig.keeper.arranged()
    assert await rig.later() == []
    shown, rig.server.begins = rig.shown(), 70
    told = await rig.later(61 * 86_400.0)
    assert "what it gave is not shown: it begins in 9 days" in told[0]
    assert "it is asked again in 1 min" in told[0]
    await rig.later(30.0)
    assert (len(rig.server.asked), rig.shown()) == (2, shown)

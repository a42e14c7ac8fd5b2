"""What the controller asks of an issuer of OpenID Connect: the little one and a real one give the same."""

import time
import urllib.parse
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.ports import Store
from repave_controller.security.accounts import Accounts, NotRecognised
from repave_controller.security.issuers import Issuers
from repave_controller.security.logins import LoggedIn, Logins, Waiting
from repave_controller.security.outbound import HttpOutbound, IssuerError
from repave_controller.security.people import Rules
from repave_controller.security.principals import Grant, Permission, Role
from repave_controller.security.provider import Client, LoginRefused, Provider
from repave_controller.security.records import KnownAccounts
from repave_controller.security.roles import Roles, grant
from repave_controller.security.under_way import UnderWay
from repave_simulation.tiers.store import MemoryStore
from tests.fakes.issuer import CLIENTS, Issuer, an_issuer
from tests.support.openid import Browser, RealIssuer, real_issuer, why_no_provider

SCOPES = "openid email groups"
PORT = 50_123
HERE = f"http://127.0.0.1:{PORT}/callback"
RULES = Rules(teams={"sre-oncall": "sre"}, admins=("platform",))


@dataclass
class World:
    """An issuer, and the log-ins of a controller that knows no one but by it."""

    issuer: Any
    logins: Logins
    accounts: Accounts
    store: Store
    passed: list[float] = field(default_factory=lambda: [0.0])

    def pass_time(self, seconds: float) -> None:
        self.passed[0] += seconds

    async def in_browser(self, then: Awaitable[Logins] | None = None, **changes: str) -> LoggedIn:
        """`then`: by whom it is ended, if not by whom it was begun."""
        handle, url = await self.logins.begin_here(PORT)
        back = urllib.parse.urlsplit(Browser().visit(url, HERE))
        told = {"code": "", "iss": "", "error": "", "error_description": ""}
        told |= dict(urllib.parse.parse_qsl(back.query))
        told |= changes
        logins = await then if then is not None else self.logins
        return await logins.finish(
            told.get("handle", handle),
            "browser",
            code=told["code"],
            state=told["state"],
            issuer=told["iss"],
            error=told["error"],
            text=told["error_description"],
        )

    async def on_device(self, then: Awaitable[Logins] | None = None) -> LoggedIn:
        handle, device = await self.logins.begin_device()
        Browser().visit(device.where_complete)
        self.pass_time(5.0)
        logins = await then if then is not None else self.logins
        found = await logins.poll(handle)
        assert isinstance(found, LoggedIn)
        return found

    async def at_another(self) -> Logins:
        """Another controller with the same store."""
        under_way = UnderWay(self.store, self.logins.under_way._clock)
        await under_way.load()
        known = self.logins
        return Logins(
            known.provider, self.accounts, under_way, known._clock, seconds=3600.0, redirect=known._redirect
        )


@pytest.fixture(scope="module")
def real() -> Iterator[RealIssuer]:
    with real_issuer() as started:
        yield started


@pytest.fixture(params=["little", "real"])
def issuer(request: pytest.FixtureRequest) -> Iterator[Issuer | RealIssuer]:
    if request.param == "little":
        with an_issuer() as made:
            yield made
        return
    if why_no_provider():
        pytest.skip(why_no_provider())
    started: RealIssuer = request.getfixturevalue("real")
    started.answer("anna")
    yield started


@pytest.fixture
async def world(issuer: Any, request: pytest.FixtureRequest) -> World:
    return await a_world(issuer, getattr(request, "param", "repave"))


async def a_world(issuer: Any, client: str = "repave", rules: Rules = RULES, most: int = 1000) -> World:
    passed, store = [0.0], MemoryStore()
    await store.open()

    def clock() -> Instant:
        return Instant(time.time() + passed[0])

    known = KnownAccounts((), grant(Roles(), "team:sre", Grant(Role.APPROVER)))
    accounts, outbound = Accounts(store, known, clock), HttpOutbound()
    known_as = Client(issuer.url, client, SCOPES, CLIENTS[client])
    provider = Provider(known_as, rules, Issuers(clock, outbound), outbound, clock)
    redirect = "http://127.0.0.1:7400/v1/login/oidc/callback"
    under_way = UnderWay(store, clock, most)
    logins = Logins(provider, accounts, under_way, clock, seconds=3600.0, redirect=redirect)
    return World(issuer, logins, accounts, store, passed)


@pytest.mark.parametrize("world", CLIENTS, indirect=True)
async def test_a_person_logs_in_by_a_browser(world: World) -> None:
    """As a client with a secret in the header or in the body, or without one; by keys of both kinds."""
    found = await world.in_browser()
    who = world.accounts.recognise(found.text)
    assert (who.name, who.teams) == ("oidc:anna@acme.example", ("sre",))
    assert who.may(Permission.APPROVE, "web")
    assert not who.may(Permission.RELEASE, "web")


@pytest.mark.parametrize("world", ["repave", "repave-public"], indirect=True)
async def test_a_person_logs_in_by_a_code(world: World) -> None:
    handle, device = await world.logins.begin_device()
    assert isinstance(await world.logins.poll(handle), Waiting)
    world.pass_time(5.0)
    assert isinstance(await world.logins.poll(handle), Waiting), "the person has not yet answered"
    Browser().visit(device.where_complete)
    world.pass_time(5.0)
    found = await world.logins.poll(handle)
    assert isinstance(found, LoggedIn)
    assert world.accounts.recognise(found.text).name == "oidc:anna@acme.example"
    with pytest.raises(LoginRefused, match="begin anew"):
        await world.logins.poll(handle)


async def test_one_who_says_no_is_told_so_in_both_flows(world: World) -> None:
    world.issuer.answer("")
    with pytest.raises(LoginRefused, match="denied") as in_browser:
        await world.in_browser()
    with pytest.raises(LoginRefused, match="denied") as on_device:
        await world.on_device()
    assert in_browser.value.rule == on_device.value.rule == "login-denied"


async def test_one_without_a_role_gets_no_token(world: World) -> None:
    world.issuer.answer("ben")
    with pytest.raises(Refused, match="no-role"):
        await world.in_browser()
    assert world.accounts.tokens == []
    await world.accounts.change_roles(lambda roles: grant(roles, "oidc:ben@acme.example", Grant(Role.VIEWER)))
    assert (await world.on_device()).person.teams == ()


async def test_a_group_may_make_admins(world: World) -> None:
    world.issuer.answer("root")
    found = await world.in_browser()
    assert world.accounts.recognise(found.text).may(Permission.ACCOUNTS)


async def test_a_log_in_ends(world: World) -> None:
    found = await world.in_browser()
    world.pass_time(3600.0)
    with pytest.raises(NotRecognised, match="log in anew: repave login"):
        world.accounts.recognise(found.text)


async def test_a_code_that_is_not_of_this_log_in_is_good_for_nothing(world: World) -> None:
    with pytest.raises(LoginRefused, match="state differs"):
        await world.in_browser(state="x" * 43)
    with pytest.raises(LoginRefused, match="no longer knows"):
        await world.in_browser(code="x" * 43)
    with pytest.raises(LoginRefused, match="another issuer"):
        await world.in_browser(iss="https://issuer.example")
    with pytest.raises(LoginRefused, match="begin anew"):
        await world.in_browser(handle="x" * 43)


async def test_a_stolen_code_is_refused_without_its_verifier(world: World) -> None:
    """PKCE: another log-in of the same controller has another verifier."""
    handle, url = await world.logins.begin_here(PORT)
    back = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(Browser().visit(url, HERE)).query))
    with pytest.raises(LoginRefused, match="no longer knows"):
        await world.in_browser(code=back["code"])
    assert handle


async def test_a_secret_that_is_wrong_is_the_controllers_fault(issuer: Any) -> None:
    world = await a_world(issuer)
    world.logins.provider.client = Client(issuer.url, "repave", SCOPES, "wrong")
    for flow in (world.in_browser, world.logins.begin_device):
        with pytest.raises(IssuerError, match="invalid_client"):
            await flow()


async def test_only_some_domains_and_groups_may_be_let_in(issuer: Any) -> None:
    world = await a_world(
        issuer, rules=Rules(domains=("acme.example",), groups=("platform",), admins=("platform",))
    )
    with pytest.raises(LoginRefused, match="some groups"):
        await world.in_browser()
    issuer.answer("root")
    await world.in_browser()
    world = await a_world(issuer, rules=Rules(domains=("other.example",), admins=("platform",)))
    with pytest.raises(LoginRefused, match=r"other\.example"):
        await world.in_browser()

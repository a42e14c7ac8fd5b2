"""What an issuer gets wrong, or an attacker in its name: each is refused by name, and no one is logged in."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from repave_controller.core.domain.instants import Instant
from repave_controller.security.issuers import Issuers
from repave_controller.security.logins import LoggedIn, Waiting
from repave_controller.security.outbound import HttpOutbound, IssuerError, is_safe
from repave_controller.security.people import NotAllowed, Person, Rules, person_of
from repave_controller.security.provider import LoginRefused
from repave_controller.security.under_way import TooManyLogins
from repave_controller.settings import ControllerSettings, OidcSettings
from repave_protos.daemon.settings import SettingsError, load_settings
from tests.contracts.test_openid import World, a_world
from tests.fakes.issuer import KEY, OTHER_KEY, an_issuer


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with an_issuer() as issuer:
        yield await a_world(issuer)


def signed_by(key: Any, kid: str = "k1", alg: str = "RS256") -> Callable[[dict[str, Any]], str]:
    return lambda claims: jwt.encode(claims, key, alg, headers={"kid": kid})


FORGED: dict[str, tuple[Callable[[dict[str, Any]], str], str]] = {
    "another key": (signed_by(OTHER_KEY), "not signed by its issuer"),
    "an unknown key": (signed_by(OTHER_KEY, "k2"), "a key that its issuer does not have"),
    "no signature": (signed_by("", alg="none"), "algorithm"),
    "another algorithm": (signed_by(KEY, alg="RS512"), "algorithm"),
    "a shared secret": (signed_by("s" * 32, alg="HS256"), "algorithm"),
    "another kind of key": (signed_by(ec.generate_private_key(ec.SECP256R1()), alg="ES256"), "not signed"),
    "no token": (lambda _: "a.b.c", "no token"),
    "too long": (lambda claims: signed_by(KEY)({**claims, "x": "y" * 20_000}), "too long"),
}


@pytest.mark.parametrize(("sign", "text"), FORGED.values(), ids=FORGED)
async def test_an_id_token_that_its_issuer_has_not_signed_is_refused(
    world: World, sign: Callable[[dict[str, Any]], str], text: str
) -> None:
    world.issuer.signs = sign
    with pytest.raises(LoginRefused, match=text) as refused:
        await world.in_browser()
    assert refused.value.rule == "not-trusted"
    assert world.accounts.tokens == []


def dated(says: dict[str, Any]) -> dict[str, Any]:
    """With times for what is said from now on."""
    now = time.time()
    return {
        name: now + each.total_seconds() if isinstance(each, timedelta) else each
        for name, each in says.items()
    }


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"iss": "https://issuer.example"}, "no trust is for this token's issuer"),
    "another audience": ({"aud": "other"}, "another audience"),
    "no audience": ({"aud": None}, "not signed"),
    "several audiences and no party": ({"aud": ["repave", "other"]}, "another client"),
    "another party": ({"azp": "other"}, "another client"),
    "another party among audiences": ({"aud": ["repave", "other"], "azp": "other"}, "another client"),
    "another log-in's nonce": ({"nonce": "x" * 43}, "nonce"),
    "no nonce": ({"nonce": None}, "nonce"),
    "a nonce that is no text": ({"nonce": 1}, "nonce"),
    "another access token": ({"at_hash": "x" * 22}, "at_hash"),
    "no subject": ({"sub": None}, "names no subject"),
    "an empty subject": ({"sub": ""}, "names no subject"),
    "a subject that is too long": ({"sub": "x" * 256}, "names no subject"),
    "expired": ({"exp": timedelta(seconds=-61)}, "expired"),
    "never expires": ({"exp": "never"}, "from when until when"),
    "no expiry": ({"exp": None}, "not signed"),
    "not issued": ({"iat": None}, "when it was issued"),
    "issued in the future": ({"iat": timedelta(seconds=3600)}, "not valid yet"),
    "not yet": ({"nbf": timedelta(seconds=3600)}, "not valid yet"),
}


@pytest.mark.parametrize(("says", "text"), WRONG.values(), ids=WRONG)
async def test_an_id_token_that_says_something_else_is_refused(
    world: World, says: dict[str, Any], text: str
) -> None:
    world.issuer.says = dated(says)
    with pytest.raises(LoginRefused, match=text):
        await world.in_browser()
    assert world.accounts.people == []


@pytest.mark.parametrize(
    "says",
    [
        {"aud": ["repave"]},
        {"azp": "repave", "aud": ["repave", "x"]},
        {"exp": timedelta(seconds=-30)},
        {"at_hash": None},
    ],
)
async def test_one_that_is_merely_said_otherwise_counts(world: World, says: dict[str, Any]) -> None:
    world.issuer.says = dated(says)
    await world.in_browser()


async def test_keys_are_taken_anew_when_the_issuer_has_changed_them(world: World) -> None:
    await world.in_browser()
    world.issuer.keys = {"k2": OTHER_KEY}
    with pytest.raises(LoginRefused, match="a key that its issuer does not have"):
        await world.in_browser()  # it has just been asked
    world.pass_time(60.0)
    await world.in_browser()
    assert world.issuer.asked.count("/keys") == 2
    world.issuer.keys = {"k1": KEY}
    world.issuer.signs = signed_by(OTHER_KEY, "k2")
    world.pass_time(3600.0)
    with pytest.raises(LoginRefused, match="does not have"):
        await world.in_browser()  # a key that was withdrawn


async def test_userinfo_of_another_person_is_refused(world: World) -> None:
    world.issuer.fails["/me"] = [(200, {"sub": "root", "email": "root@acme.example", "email_verified": True})]
    with pytest.raises(LoginRefused, match="another person"):
        await world.in_browser()


async def test_an_id_token_with_everything_needs_no_userinfo(world: World) -> None:
    world.issuer.in_token = True
    await world.in_browser()
    assert "/me" not in world.issuer.asked


ANSWERS: dict[str, tuple[str, tuple[int, Any], type[Exception], str]] = {
    "denied": ("/token", (400, {"error": "access_denied"}), LoginRefused, "denied"),
    "expired": ("/token", (400, {"error": "expired_token"}), LoginRefused, "expired; begin anew"),
    "spent": ("/token", (400, {"error": "invalid_grant"}), LoginRefused, "no longer knows"),
    "wrong client": ("/token", (401, {"error": "invalid_client"}), IssuerError, "invalid_client"),
    "not allowed": ("/token", (400, {"error": "unauthorized_client"}), IssuerError, "unauthorized_client"),
    "no error": ("/token", (400, {}), IssuerError, "answered 400"),
    "a gateway": ("/token", (502, b"<html>"), IssuerError, "502 and no JSON"),
    "no object": ("/token", (200, b"[]"), IssuerError, "no object"),
    "no ID token": ("/token", (200, {"access_token": "a"}), IssuerError, "openid"),
    "no access token": ("/token", (200, {"id_token": "a.b.c"}), IssuerError, "no access_token"),
    "too much": ("/token", (200, b" " * 300_000), IssuerError, "more than 256 KiB"),
    "elsewhere": ("/token", (302, {}), IssuerError, "answered 302"),
    "deep": ("/token", (200, b"[" * 100_000), IssuerError, "no JSON"),
    "no userinfo": ("/me", (500, {}), IssuerError, "answered 500"),
}


@pytest.mark.parametrize(("path", "given", "kind", "text"), ANSWERS.values(), ids=ANSWERS)
async def test_what_the_issuer_answers_is_told_by_its_name(
    world: World, path: str, given: tuple[int, Any], kind: type[Exception], text: str
) -> None:
    world.issuer.fails[path] = [given]
    with pytest.raises(kind, match=text):
        await world.in_browser()
    assert world.accounts.tokens == []


DESCRIBED: dict[str, tuple[dict[str, Any], str]] = {
    "as another issuer": ({"issuer": "https://issuer.example"}, "calls itself"),
    "as one with another path": ({"issuer": "http://127.0.0.1/"}, "calls itself"),
    "without keys": ({"jwks_uri": None}, "where its keys are"),
    "keys in plaintext": ({"jwks_uri": "http://issuer.example/keys"}, "where its keys are"),
    "no device flow": ({"device_authorization_endpoint": None}, "no device authorization endpoint"),
    "plaintext": ({"device_authorization_endpoint": "http://issuer.example/d"}, "no device authorization"),
    "a file": ({"device_authorization_endpoint": "file:///etc/passwd"}, "no device authorization endpoint"),
}


@pytest.mark.parametrize(("described", "text"), DESCRIBED.values(), ids=DESCRIBED)
async def test_an_issuer_that_describes_itself_wrongly_is_not_used(
    world: World, described: dict[str, Any], text: str
) -> None:
    world.issuer.described = described
    with pytest.raises(IssuerError, match=text):
        await world.logins.begin_device()


async def test_an_issuer_that_is_away_is_asked_again_soon() -> None:
    passed, issuers = [0.0], Issuers(lambda: passed[0], HttpOutbound())
    with an_issuer() as issuer:
        issuer.fails["/.well-known/openid-configuration"] = [(503, {}), (503, {})]
        for _ in range(3):
            with pytest.raises(IssuerError, match="answered 503"):
                await issuers.described(issuer.url)
        assert len(issuer.asked) == 1, "not once more within 5 s"
        passed[0] = 5.0
        with pytest.raises(IssuerError):
            await issuers.described(issuer.url)
        passed[0] = 10.0
        assert (await issuers.described(issuer.url))["issuer"] == issuer.url
        passed[0] = 3609.0
    assert (await issuers.described(issuer.url))["issuer"] == issuer.url, "known for an hour"
    passed[0] = 3700.0
    with pytest.raises(IssuerError, match="can't be asked"):
        await issuers.described(issuer.url)


async def test_a_code_waits_slows_down_and_ends_as_the_issuer_says(world: World) -> None:
    world.issuer.person = None
    handle, device = await world.logins.begin_device()
    assert device.interval_seconds == 5.0

    async def asked(seconds: float, error: str) -> float:
        world.pass_time(seconds)
        world.issuer.fails["/token"] = [(400, {"error": error})]
        found = await world.logins.poll(handle)
        assert isinstance(found, Waiting)
        return found.seconds

    assert await asked(5.0, "authorization_pending") == 5.0
    assert await asked(5.0, "slow_down") == 10.0
    assert 4.0 < await asked(5.0, "not asked") <= 5.0
    assert await asked(5.0, "slow_down") == 15.0
    world.pass_time(15.0)
    world.issuer.fails["/token"] = [(502, b"")]
    with pytest.raises(IssuerError):
        await world.logins.poll(handle)  # for a moment: the log-in goes on
    world.pass_time(15.0)
    world.issuer.fails["/token"] = [(400, {"error": "expired_token"})]
    with pytest.raises(LoginRefused, match="code has expired"):
        await world.logins.poll(handle)
    with pytest.raises(LoginRefused, match="not known"):
        await world.logins.poll(handle)


async def test_a_code_that_outlived_itself_is_forgotten_unasked(world: World) -> None:
    handle, _ = await world.logins.begin_device()
    world.pass_time(600.0)
    with pytest.raises(LoginRefused, match="expired"):
        await world.logins.poll(handle)
    assert "/token" not in world.issuer.asked


BAD_DEVICES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "an address that runs a script": {"verification_uri": "javascript:alert(1)"},
    "plaintext": {"verification_uri_complete": "http://issuer.example/"},
    "no number": {"expires_in": "soon"},
    "a negative number": {"interval": -1},
}


@pytest.mark.parametrize("says", BAD_DEVICES.values(), ids=BAD_DEVICES)
async def test_a_code_that_no_person_should_see_is_not_shown(world: World, says: dict[str, Any]) -> None:
    whole = {"device_code": "d", "user_code": "U", "verification_uri": "https://i.example", "expires_in": 60}
    world.issuer.fails["/device/auth"] = [(200, {**whole, **says} if says else {})]
    with pytest.raises(IssuerError):
        await world.logins.begin_device()


async def test_log_ins_under_way_are_bounded_and_end_by_themselves(
    world: World,
) -> None:
    world = await a_world(world.issuer, most=3)
    for _ in range(3):
        await world.logins.begin_web()
    with pytest.raises(TooManyLogins):
        await world.logins.begin_device()
    world.pass_time(600.0)
    await world.logins.begin_device()


@pytest.mark.parametrize("log_in", [World.in_browser, World.on_device])
async def test_a_log_in_goes_on_at_another_controller(
    world: World, log_in: Callable[..., Awaitable[LoggedIn]]
) -> None:
    found = await log_in(world, then=world.at_another())
    assert world.accounts.recognise(found.text).name == "oidc:anna@acme.example"


# ------------------------------------------------------------------------------------ what people are called


def named(rules: Rules = Rules(), **claims: Any) -> Person:  # noqa: B008  # frozen
    known = {"iss": "i", "sub": "1", "email": "anna@acme.example", "email_verified": True}
    return person_of({**known, **claims}, rules, Instant(1.0))


def test_a_person_is_called_by_a_claim_in_a_space_of_its_own() -> None:
    assert named().name == "oidc:anna@acme.example"
    assert named(Rules(name_claim="preferred_username"), preferred_username="anna").name == "oidc:anna"


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ({"email": None}, "gives no email"),
        ({"email": ""}, "gives no email"),
        ({"email": ["anna@acme.example"]}, "gives no email"),
        ({"email": "anna acme"}, "is no name"),
        ({"email": "team:sre"}, "is no name"),
        ({"email": "oidc:x"}, "is no name"),
        ({"email": "a/b@acme.example"}, "is no name"),
        ({"email": "а@acme.example"}, "is no name"),
        ({"email": "x" * 101}, "is no name"),
        ({"email_verified": False}, "not verified"),
        ({"email_verified": None}, "not verified"),
        ({"email_verified": "false"}, "not verified"),
    ],
)
def test_a_name_that_can_t_be_one_is_refused(claims: dict[str, Any], text: str) -> None:
    with pytest.raises(NotAllowed, match=text):
        named(**claims)


def test_groups_count_only_as_the_operator_maps_them() -> None:
    rules = Rules(teams={"/ops/sre": "sre", "web": "web"}, admins=("root",))
    assert named(rules, groups=["/ops/sre", "sre", "admin", 3, None]).teams == ("sre",)
    assert named(rules, groups="web").teams == ("web",)
    assert not named(rules, groups=["sre", "admins", "*", "roo"]).is_admin
    assert named(rules, groups=["root"]).is_admin
    assert named(Rules(groups_claim="roles", admins=("root",)), roles=["root"], groups=[]).is_admin


def test_a_domain_is_that_of_a_verified_email() -> None:
    rules = Rules(name_claim="sub", domains=("acme.example",))
    assert named(rules, email="a@ACME.example").name == "oidc:1"
    for claims in (
        {"email": "a@evilacme.example"},
        {"email": "a@acme.example.evil"},
        {"email": "acme.example"} | {"email_verified": False},
        {"email_verified": False},
        {"email": None},
    ):
        with pytest.raises(NotAllowed, match="verified emails"):
            named(rules, **claims)


def test_groups_that_the_issuer_left_out_are_told_of() -> None:
    with pytest.raises(NotAllowed, match="left your groups out"):
        named(Rules(groups=("sre",)), _claim_names={"groups": "src1"})


@pytest.mark.parametrize(
    ("url", "is_good"),
    [
        ("https://issuer.example/realms/acme", True),
        ("http://127.0.0.1:8080", True),
        ("http://localhost:8080/x", True),
        ("http://[::1]:8080", True),
        ("http://issuer.example", False),
        ("http://127.0.0.1:x@issuer.example/", False),
        ("https://user@issuer.example/", False),
        ("https://issuer.example/#x", False),
        ("https://issuer.example/a b", False),
        ("https://", False),
        ("https://issuer.example:99999", False),
        ("ftp://issuer.example", False),
        ("", False),
    ],
)
def test_only_https_is_asked_but_on_this_machine(url: str, is_good: bool) -> None:
    assert is_safe(url) is is_good


# ---------------------------------------------------------------------------------------------- its settings


def settings_of(**environment: str) -> OidcSettings:
    named = {f"REPAVE_CONTROLLER_OIDC__{name}": value for name, value in environment.items()}
    given = {"REPAVE_CONTROLLER_ACCOUNTS": "true", **named}
    return load_settings(ControllerSettings, None, given, "REPAVE_CONTROLLER_")[0].oidc


def test_settings_may_stand_in_the_environment() -> None:
    found = settings_of(
        ISSUER="https://i.example",
        CLIENT_ID="repave",
        SCOPES="openid email",
        TEAMS="/ops/sre=sre web=web",
        DOMAINS="@Acme.example",
        CLIENT_SECRET_FILE="/etc/repave/oidc-secret",
    )
    assert found.rules == Rules(domains=("acme.example",), teams={"/ops/sre": "sre", "web": "web"})
    assert str(found.client_secret_file) == "/etc/repave/oidc-secret"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"CLIENT_ID": ""}, "client_id"),
        ({"ISSUER": "http://i.example"}, "https"),
        ({"ISSUER": "i.example"}, "https"),
        ({"SCOPES": "email"}, "openid"),
        ({"TEAMS": "sre"}, "GROUP=TEAM"),
        ({"TEAMS": "sre=a:b"}, "no name"),
        ({"EXPIRES_HOURS": "0"}, "expires_hours"),
        ({"LOOPBACK": "0.0.0.0"}, "loopback"),
    ],
)
def test_settings_that_can_t_work_are_refused_at_the_start(changes: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        settings_of(**{"ISSUER": "https://i.example", "CLIENT_ID": "repave", **changes})


def test_an_issuer_is_for_a_controller_with_accounts() -> None:
    with pytest.raises(SettingsError, match="accounts = true"):
        load_settings(
            ControllerSettings,
            None,
            {"REPAVE_CONTROLLER_OIDC__ISSUER": "https://i.example", "REPAVE_CONTROLLER_OIDC__CLIENT_ID": "r"},
            "REPAVE_CONTROLLER_",
        )

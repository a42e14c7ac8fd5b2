"""The agents' HTTPS API: what a machine without a certificate may ask, and what each certificate opens."""

import functools
import http.client
import time
from pathlib import Path

import pytest

from repave_controller.api.door import Door, DoorBounds, from_here
from repave_controller.security.principals import Permission
from repave_protos.protocol.certificates import (
    key_pem,
    new_key,
    read_join_word,
    request_for,
)
from repave_protos.protocol.channel import Shown
from tests.fakes.controller.door import DIGEST, PACKAGE, standing
from tests.fakes.controller.enrolled import Credentials, of_own_authority


async def test_a_machine_joins_renews_and_fetches_packages(tmp_path: Path) -> None:
    async with standing(tmp_path) as door:
        word, key = read_join_word(await door.enrolled.token()), new_key()
        told = await door.ask("GET", "/v1/authorities")
        assert told.json == {"authorities": door.enrolled.authority.authorities}
        joined = await door.ask("POST", "/v1/join", {"secret": word.secret, "request": request_for(key)})
        assert joined.status == 200
        assert joined.json["grpc_port"] == 7443
        agent = Shown(key_pem(key), joined.json["certificate"], joined.json["authorities"])
        fetched = await door.ask("GET", f"/v1/images/{DIGEST}", shown=agent)
        assert (fetched.status, fetched.body) == (200, PACKAGE)
        fresh = new_key()
        renewed = await door.ask("POST", "/v1/renew", {"request": request_for(fresh)}, agent)
        next_one = Shown(key_pem(fresh), renewed.json["certificate"], renewed.json["authorities"])
        assert (await door.ask("GET", f"/v1/images/{DIGEST}", shown=next_one)).status == 200
        (member,) = door.enrolled.enrolment.members()
        assert (member.region, member.joined_from) == ("paris", "127.0.0.1")


async def test_an_agent_has_the_packages_of_its_region_only(tmp_path: Path) -> None:
    """Asked for another one, it is told the same whether that is stored or not."""
    asked = list[tuple[str, str]]()

    def is_of_region(region: str, digest: str) -> bool:
        asked.append((region, digest))
        return region == "paris" and digest == DIGEST

    async with standing(tmp_path, is_of_region=is_of_region) as door:
        paris, oslo = await door.enrolled.agent(), await door.enrolled.agent("oslo")
        assert (await door.ask("GET", f"/v1/images/{DIGEST}", shown=paris.shown)).status == 200
        for digest in (DIGEST, "0" * 64):
            refused = await door.ask("GET", f"/v1/images/{digest}", shown=oslo.shown)
            assert (refused.status, refused.json["rule"]) == (403, "package-of-another-region")
        assert asked == [("paris", DIGEST), ("oslo", DIGEST), ("oslo", "0" * 64)]  # as the certificate says


async def test_a_token_is_refused_with_its_reason(tmp_path: Path) -> None:
    async with standing(tmp_path) as door:
        word = read_join_word(await door.enrolled.token())
        body = {"secret": word.secret, "request": request_for(new_key())}
        assert (await door.ask("POST", "/v1/join", body)).status == 200
        replayed = await door.ask("POST", "/v1/join", body)
        assert (replayed.status, replayed.json["rule"]) == (403, "join-token")
        assert "this join token of paris was used" in replayed.json["detail"]
        foreign = await door.ask("POST", "/v1/join", {**body, "secret": "x" * 43})
        assert (foreign.status, foreign.json["rule"]) == (403, "join-token")
        late = read_join_word(await door.enrolled.token())
        door.enrolled.ahead = 3601.0
        expired = await door.ask("POST", "/v1/join", {**body, "secret": late.secret})
        assert "expired" in expired.json["detail"]


async def test_a_bad_request_does_not_use_up_a_token(tmp_path: Path) -> None:
    async with standing(tmp_path) as door:
        word = read_join_word(await door.enrolled.token())
        for bad in ("", "-----BEGIN CERTIFICATE REQUEST-----", "\x00", 7, None, "x" * 70_000):
            refused = await door.ask("POST", "/v1/join", {"secret": word.secret, "request": bad})
            assert refused.status in (400, 403), refused.body
        huge = await door.ask("POST", "/v1/join", {"secret": word.secret, "request": "x" * 1_000_000})
        assert huge.status == 413
        unknown = await door.ask("POST", "/v1/join", {"secret": word.secret, "request": "", "region": "oslo"})
        assert unknown.status == 400
        good = {"secret": word.secret, "request": request_for(new_key())}
        assert (await door.ask("POST", "/v1/join", good)).status == 200


def entrances() -> list[tuple[str, str, Permission]]:
    door = Door(None, None, lambda: 0, float, DoorBounds(), lambda *_: False, from_here)  # type: ignore[arg-type]  # never asked
    return [(each.method, each.path, each.permission) for each in door.entrances()]


def test_only_joining_is_open() -> None:
    """A route that is added has to be thought about here."""
    assert {path for _, path, permission in entrances() if permission is Permission.OPEN} == {
        "/v1/authorities",
        "/v1/join",
    }
    assert {permission for *_, permission in entrances()} == {Permission.OPEN, Permission.AGENT}


async def test_every_other_route_is_closed_to_all_but_agents(tmp_path: Path) -> None:
    async with standing(tmp_path / "ours") as door:
        enrolled = door.enrolled
        server = enrolled.authority.shown()
        revoked, late = await enrolled.agent(), await enrolled.agent("oslo")
        theirs = of_own_authority(tmp_path / "theirs", "paris", time.time())
        await enrolled.enrolment.revoke("paris", "", "ann")
        for method, path, permission in entrances():
            if permission is Permission.OPEN:
                continue
            body = {"request": request_for(new_key())} if method == "POST" else None
            asked = functools.partial(door.ask, method, path.format(digest=DIGEST), body)
            anonymous = await asked(None)
            assert (anonymous.status, anonymous.json["rule"]) == (401, "no-certificate")
            refused = await asked(revoked.shown)
            assert refused.status == 403
            assert "was revoked by ann" in refused.json["detail"]
            for impostor in (theirs, server):
                with pytest.raises((OSError, http.client.HTTPException)):  # TLS refuses them
                    await asked(Shown(impostor.key, impostor.chain, ""))
            enrolled.ahead = 80 * 3600.0
            expired = await asked(late.shown)
            assert (expired.status, expired.json["rule"]) == (403, "certificate")
            assert "expired" in expired.json["detail"]
            enrolled.ahead = 0.0
            assert (await asked(late.shown)).status == 200


async def test_people_have_nothing_to_ask_here(tmp_path: Path) -> None:
    async with standing(tmp_path) as door:
        agent = await door.enrolled.agent()
        for path in (
            "/v1/applications",
            "/v1/agents",
            "/v1/doctor",
            "/v1/images",
            "/v1/images/..%2f..%2fetc",
        ):
            assert (await door.ask("GET", path, shown=agent.shown)).status == 404
        for method in ("PUT", "DELETE", "POST"):
            assert (await door.ask(method, f"/v1/images/{DIGEST}", {}, agent.shown)).status == 405


async def test_a_certificate_is_changed_under_the_server_that_runs_on(tmp_path: Path) -> None:
    async with standing(tmp_path) as door:
        agent = await door.enrolled.agent()
        await door.enrolled.enrolment.rotate("ann", at_once=True)
        assert (await door.ask("GET", "/v1/authorities")).status == 200, "checked by the new authority"
        with pytest.raises((OSError, http.client.HTTPException)):
            await door.ask("GET", f"/v1/images/{DIGEST}", shown=agent.shown)
        assert (await door.ask("GET", "/v1/authorities", host="localhost")).status == 200


# ----------------------------------------------------------------------------------------------------- bounds


async def test_one_address_has_so_many_attempts_to_join_and_agents_go_on(tmp_path: Path) -> None:
    async with standing(tmp_path, DoorBounds(stranger=(0.5, 5.0))) as door:
        agent = await door.enrolled.agent()
        body = {"secret": "x" * 43, "request": request_for(new_key())}
        tried = [await door.ask("POST", "/v1/join", body) for _ in range(6)]
        assert [each.status for each in tried] == [403] * 5 + [429]
        for path in ("/v1/authorities", f"/v1/images/{DIGEST}"):
            assert (await door.ask("GET", path)).json["rule"] == "too-many-requests"
        assert (await door.ask("GET", f"/v1/images/{DIGEST}", shown=agent.shown)).status == 200
        door.enrolled.ahead = 2.0
        assert (await door.ask("POST", "/v1/join", body)).status == 403
        assert (await door.ask("POST", "/v1/join", body)).status == 429


async def test_one_agent_has_its_rate_and_leaves_the_others_theirs(tmp_path: Path) -> None:
    async with standing(tmp_path, DoorBounds(agent=(0.1, 3.0), renewal=(0.01, 1.0))) as door:
        busy, other = await door.enrolled.agent(), await door.enrolled.agent("oslo")

        async def renewed(agent: Credentials) -> int:
            return (
                await door.ask("POST", "/v1/renew", {"request": request_for(new_key())}, agent.shown)
            ).status

        assert [await renewed(busy) for _ in range(2)] == [200, 429]
        fetched = [await door.ask("GET", f"/v1/images/{DIGEST}", shown=busy.shown) for _ in range(2)]
        assert [each.status for each in fetched] == [200, 429]
        assert await renewed(other) == 200


async def test_what_was_revoked_is_counted_as_a_stranger(tmp_path: Path) -> None:
    async with standing(tmp_path, DoorBounds(stranger=(0.1, 2.0))) as door:
        agent = await door.enrolled.agent()
        await door.enrolled.enrolment.revoke("paris", "", "ann")
        asked = [await door.ask("GET", f"/v1/images/{DIGEST}", shown=agent.shown) for _ in range(3)]
        assert [each.status for each in asked] == [403, 403, 429]

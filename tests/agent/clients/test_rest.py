"""How a cloud's API is called when it is busy, breaks off, forgets tokens or is down as a whole."""

import random
from collections.abc import Mapping
from typing import Any

import pytest

from repave_agent.clients import rest as clients_rest
from repave_agent.clients.faults import LostError
from repave_agent.clients.rest import RETRIES_MAX, TRIES_MAX, Answer, Pace, Rest, SharedToken
from repave_agent.core.ports import NotActingError, ProviderError, RefusedError, TransientError
from tests.fakes.clock import QuickClock
from tests.fakes.scripted import scripted

BUSY: tuple[int, Any, dict[str, str]] = (503, {"message": "busy"}, {})
OK: tuple[int, Any, dict[str, str]] = (200, {"done": True}, {})


class Tokens:
    """Counts up with each one that is refused."""

    def __init__(self) -> None:
        self.number = 0

    async def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.number}"}

    def forget(self, used: Mapping[str, str]) -> None:
        self.number += 1


def fault(what: str, answer: Answer) -> ProviderError:
    return RefusedError(f"{what}: {answer.status}: {answer.body.get('message')}")


def rest_of(clock: QuickClock, per_second: float = 0.0) -> Rest:
    pace = Pace(per_second, clock)
    return Rest(Tokens(), fault, clock, pace, chance=random.Random(7), service="the cloud")


async def test_a_cloud_that_is_busy_is_asked_again_not_before_it_says() -> None:
    clock = QuickClock()
    async with scripted((429, {}, {"Retry-After": "7"}), BUSY, OK) as server:
        rest = rest_of(clock)
        answer = await rest.call("POST", f"{server.url}/things", {"a": 1}, what="POST things")
        await rest.close()
    assert (answer.body, len(server.asked)) == ({"done": True}, 3)
    assert 7.0 <= clock.slept <= 7.0 + 0.5 + 1.0


async def test_a_retry_after_may_be_a_date_and_no_cloud_holds_us_for_hours() -> None:
    clock = QuickClock()
    async with scripted((503, {}, {"Retry-After": "Fri, 31 Dec 2999 23:59:59 GMT"}), OK) as server:
        rest = rest_of(clock)
        await rest.call("GET", server.url, what="GET things")
        await rest.close()
    assert 60.0 <= clock.slept <= 60.5


@pytest.mark.parametrize(
    ("method", "repeatable", "asked"), [("POST", None, 1), ("POST", True, 2), ("PATCH", None, 1)]
)
async def test_a_lost_answer_is_repeated_only_where_twice_is_once(
    method: str, repeatable: bool | None, asked: int
) -> None:
    async with scripted(None, OK) as server:
        rest = rest_of(QuickClock())
        call = rest.call(method, server.url, what="a change", repeatable=repeatable)
        if repeatable:
            assert (await call).body == {"done": True}
        else:
            with pytest.raises(LostError, match="the cloud: a change: no answer"):
                await call
        await rest.close()
    assert len(server.asked) == asked


async def test_a_gateway_that_gave_up_a_creation_is_not_asked_again() -> None:
    async with scripted((502, {"message": "bad gateway"}, {}), OK) as server:
        rest = rest_of(QuickClock())
        with pytest.raises(RefusedError, match="POST things: 502: bad gateway"):
            await rest.call("POST", server.url, what="POST things")
        await rest.close()
    assert len(server.asked) == 1


async def test_a_token_that_is_refused_is_fetched_anew_once() -> None:
    async with scripted((401, {}, {}), OK, (401, {}, {}), (401, {"message": "no"}, {})) as server:
        rest = rest_of(QuickClock())
        assert (await rest.call("POST", server.url, what="POST things")).body == {"done": True}
        with pytest.raises(RefusedError, match="POST things: 401: no"):
            await rest.call("POST", server.url, what="POST things")
        await rest.close()
    assert [headers["Authorization"] for _, _, headers, _ in server.asked] == [
        "Bearer 0", "Bearer 1", "Bearer 1", "Bearer 2"
    ]  # fmt: skip


async def test_a_cloud_that_is_down_as_a_whole_is_soon_asked_once_for_each_call() -> None:
    calls = 40
    async with scripted(*([BUSY] * calls * TRIES_MAX)) as server:
        rest = rest_of(QuickClock())
        for _ in range(calls):
            with pytest.raises(RefusedError):
                await rest.call("GET", server.url, what="GET things")
        await rest.close()
    assert len(server.asked) == calls + RETRIES_MAX


async def test_calls_of_an_account_keep_their_pace() -> None:
    clock = QuickClock()
    async with scripted() as server:
        rest = rest_of(clock, per_second=4.0)
        for _ in range(24):
            await rest.call("GET", server.url, what="GET things")
        await rest.close()
    assert 4.5 <= clock.slept <= 5.5, "four at once, then four a second"


async def test_a_server_that_is_not_there_is_a_fault_that_passes() -> None:
    async with scripted() as server:
        gone = server.url
    rest = rest_of(QuickClock())
    with pytest.raises(TransientError, match="the cloud: POST things: no answer") as caught:
        await rest.call("POST", gone, what="POST things")
    assert not isinstance(caught.value, LostError), "nothing was sent"
    await rest.close()


async def test_nothing_is_changed_once_another_agent_may_have_the_region() -> None:
    def check() -> None:
        raise NotActingError("no lease")

    clock = QuickClock()
    async with scripted(OK) as server:
        pace = Pace(0.0, clock)
        rest = Rest(Tokens(), fault, clock, pace, chance=random.Random(7), service="x", check=check)
        assert (await rest.call("GET", server.url, what="GET things")).body == {"done": True}
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            with pytest.raises(NotActingError):
                await rest.call(method, server.url, what="a change")
        await rest.close()
    assert len(server.asked) == 1


async def test_no_redirect_is_followed_with_the_token_nor_taken_for_success() -> None:
    async with scripted((302, {}, {"Location": "/elsewhere"}), OK) as server:
        rest = rest_of(QuickClock())
        with pytest.raises(RefusedError, match="POST things: 302"):
            await rest.call("POST", f"{server.url}/things", {"a": 1}, what="POST things")
        await rest.close()
    assert len(server.asked) == 1


async def test_a_token_is_renewed_before_it_ends_and_fetched_once_for_all() -> None:
    clock, fetched = QuickClock(), []

    async def fetch() -> tuple[str, float]:
        fetched.append(clock.wall())
        return f"t{len(fetched)}", clock.wall() + 600.0

    token = SharedToken(fetch, clock)
    assert [await token.headers() for _ in range(3)] == [{"Authorization": "Bearer t1"}] * 3
    clock.slept += 481.0
    assert await token.headers() == {"Authorization": "Bearer t2"}
    token.forget({"Authorization": "Bearer t1"})  # an old one
    assert await token.headers() == {"Authorization": "Bearer t2"}
    token.forget({"Authorization": "Bearer t2"})
    assert await token.headers() == {"Authorization": "Bearer t3"}


async def test_an_answer_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients_rest, "ANSWER_BYTES_MAX", 1024)
    async with scripted((200, {"items": ["x" * 2000]}, {}), OK) as server:
        rest = rest_of(QuickClock())
        with pytest.raises(LostError, match="an answer of more than"):
            await rest.call("PATCH", f"{server.url}/things", {}, what="PATCH things")
        await rest.close()

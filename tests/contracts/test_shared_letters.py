"""What a store that several controllers share promises about letters between them."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from repave_controller.peers.hinted import Hinted
from repave_controller.peers.letters import BYTES_MAX, Letters, TooLong
from repave_controller.peers.ports import Letter, Post
from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.letters import LetterTable
from repave_controller.stores.postgresql.place import Place as store_at
from repave_simulation.tiers.shared_shelf import SharedShelf
from repave_simulation.tiers.shared_store import SharedMemoryStore

SECONDS = 20.0


@dataclass
class Place:
    """One store, as two controllers have it open."""

    ann: Post
    ben: Post
    hints: Callable[[], AsyncIterator[None]]  # of Ben's


@pytest.fixture(params=["memory", "postgresql"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if request.param == "memory":
        shelf = SharedShelf()
        ann, ben = SharedMemoryStore(shelf, "ann"), SharedMemoryStore(shelf, "ben")
        await ann.open()
        await ben.open()
        yield Place(ann, ben, ben.hints)
        return
    url = request.getfixturevalue("database_url")
    async with table(url) as at_ann, table(url) as at_ben:
        yield Place(at_ann, at_ben, now_and_then)


async def now_and_then() -> AsyncIterator[None]:
    while True:
        await asyncio.sleep(0.01)
        yield None


@asynccontextmanager
async def table(url: str) -> AsyncIterator[LetterTable]:
    database = Database(store_at(url))
    await database.open()
    try:
        yield LetterTable(database, now_and_then)
    finally:
        await database.close()


def a_letter(body: bytes = b"\x00what?", recipient: str = "ben") -> Letter:
    return Letter(str(uuid.uuid4()), recipient, "question", body)


async def waiting(place: Place, recipient: str = "ben") -> list[Letter]:
    """Those that wait, as soon as there are some."""
    hinted = Hinted(place.hints())
    async with asyncio.timeout(SECONDS):
        while not (found := list(await place.ben.letters(recipient))):
            await hinted.wait(0.01)
    hinted.close()
    return found


async def test_a_letter_is_handed_out_once_and_its_answer_goes_to_the_sender(place: Place) -> None:
    letter = a_letter()
    asked = asyncio.create_task(place.ann.send(letter, SECONDS))
    assert await waiting(place) == [letter]
    assert list(await place.ben.letters("ben")) == []
    assert await place.ben.answer(letter, b"\xffthat")
    assert await asked == b"\xffthat"


async def test_letters_are_for_their_recipient_alone(place: Place) -> None:
    to_ben, to_cat = a_letter(), a_letter(recipient="cat")
    sent = [asyncio.create_task(place.ann.send(each, SECONDS)) for each in (to_ben, to_cat)]
    assert await waiting(place, "cat") == [to_cat]
    assert await waiting(place) == [to_ben]
    for each in sent:
        each.cancel()
    await asyncio.wait(sent)


async def test_one_that_is_not_answered_in_time_is_withdrawn(place: Place) -> None:
    with pytest.raises(TimeoutError):
        await place.ann.send(a_letter(), 0.05)
    assert list(await place.ben.letters("ben")) == []


async def test_an_answer_that_comes_too_late_is_told_so(place: Place) -> None:
    letter = a_letter()
    asked = asyncio.create_task(place.ann.send(letter, SECONDS))
    await waiting(place)
    asked.cancel()
    await asyncio.wait({asked})
    assert not await place.ben.answer(letter, b"late")


async def test_handlers_answer_by_kind_and_a_failing_one_does_not_end_the_others(place: Place) -> None:
    async def shout(body: bytes) -> bytes:
        return body.upper()

    async def fail(body: bytes) -> bytes:
        raise RuntimeError(body)

    ann = Letters(place.ann, "ann", place.hints, lambda: str(uuid.uuid4()))
    ben = Letters(place.ben, "ben", place.hints, lambda: str(uuid.uuid4()))
    kinds: dict[str, Callable[[bytes], Awaitable[bytes]]] = {"shout": shout, "fail": fail}
    for kind, handler in kinds.items():
        ben.answer_with(kind, handler)
    running = asyncio.create_task(ben.run())
    failing = [asyncio.create_task(ann.ask("ben", kind, b"x", 0.5)) for kind in ("fail", "unknown")]
    assert await ann.ask("ben", "shout", b"hello", SECONDS) == b"HELLO"
    for each in await asyncio.gather(*failing, return_exceptions=True):
        assert isinstance(each, TimeoutError)
    assert await ann.ask("ben", "shout", b"again", SECONDS) == b"AGAIN"
    with pytest.raises(TooLong):
        await ann.ask("ben", "shout", bytes(BYTES_MAX + 1), SECONDS)
    running.cancel()

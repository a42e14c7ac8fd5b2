"""Letters between controllers, in the store in memory that they share."""

import asyncio
from collections.abc import Sequence

from repave_controller.peers.ports import ControllerId, Letter
from repave_simulation.tiers.shared_shelf import SharedShelf
from repave_simulation.tiers.store import MemoryStore


class LettersInMemory(MemoryStore):
    """Implements peers.ports.Post."""

    shelf: SharedShelf

    async def send(self, letter: Letter, timeout_seconds: float) -> bytes:
        self._check()
        shelf, news = self.shelf, asyncio.Event()
        shelf.letters[letter.id] = letter
        shelf.awaited.add(letter.id)
        shelf.listeners.append(news.set)
        shelf.hint()
        try:
            async with asyncio.timeout(timeout_seconds):
                while letter.id not in shelf.answers:
                    news.clear()
                    await news.wait()
            self._check()
            return shelf.answers[letter.id]
        finally:
            shelf.listeners.remove(news.set)
            shelf.awaited.discard(letter.id)
            shelf.letters.pop(letter.id, None)
            shelf.answers.pop(letter.id, None)

    async def letters(self, recipient: ControllerId) -> Sequence[Letter]:
        self._check()
        found = [each for each in self.shelf.letters.values() if each.recipient == recipient]
        for each in found:
            del self.shelf.letters[each.id]
        return found

    async def answer(self, letter: Letter, body: bytes) -> bool:
        self._check()
        if letter.id not in self.shelf.awaited:
            return False
        self.shelf.answers[letter.id] = body
        self.shelf.hint()
        return True

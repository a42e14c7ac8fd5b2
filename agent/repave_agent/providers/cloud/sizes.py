"""Of which sizes the machines of a host may be, best first: those that its spec names, else the region's own.

A word of the agent's settings, such as xl, stands for sizes as the cloud calls them, so that one spec serves
many regions; any other word is the cloud's own name.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from repave_agent.core.ports import MisfitError


class SizeChart:
    """`setting`: where the words are, such as aws.sizes. `usual`: of hosts whose spec names none."""

    def __init__(self, setting: str, words: Mapping[str, Sequence[str]], usual: Sequence[str]) -> None:
        self._setting, self._words, self._usual = setting, words, tuple(usual)

    def sizes(self, asked: Sequence[str]) -> tuple[str, ...]:
        """As the cloud calls them, each once."""
        found = (self._words.get(word, (word,)) for word in asked)
        return _once(each for sizes in found for each in sizes) or self._usual

    def meant(self) -> tuple[str, ...]:
        """All that words stand for."""
        return _once(each for sizes in self._words.values() for each in sizes)

    async def check(
        self, asked: Iterable[str], is_there: Callable[[str], Awaitable[bool]], noun: str
    ) -> None:
        """What words stand for was looked up at the start; `is_there` asks the cloud for any other name.
        `noun`: what it calls a size. Raises MisfitError."""
        unknown = [word for word in asked if word not in self._words and not await is_there(word)]
        if unknown:
            words = ", ".join(sorted(self._words)) or "none"
            raise MisfitError(
                f"host.size: there is no {noun} {' or '.join(unknown)} here, and no such word among "
                f"{self._setting} in the agent's settings; there: {words}"
            )


def _once(sizes: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sizes))

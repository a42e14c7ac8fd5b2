"""Answers what the controller asks of this region's provider alone, for people: the machines of its pool,
whether there is room for more hosts, images to be baked.

A question is words, an answer JSON: what is asked is checked here, what is answered shown by the controller.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from repave_agent.core.ports import Provider, ProviderError
from repave_agent.kinds import CommandError, Site
from repave_agent.packages.baking import BakeOrder, Bakery
from repave_agent.providers.ssh_pool import PROVIDER as SSH_POOL
from repave_agent.providers.ssh_pool import SshPoolOptions
from repave_agent.providers.ssh_pool.pool import Row, work_on_pool
from repave_protos.protocol.bounds import TOLD_LENGTH_MAX
from repave_protos.protocol.values import Answer, Digest, Notice, Query


class Desk:
    """One for an agent. `provider` has deadlines; the bakery's takes its time."""

    def __init__(
        self,
        site: Site,
        provider: Provider,
        bakery: Bakery,
        notice: Callable[[Notice], None],
    ) -> None:
        self._site, self._provider, self._bakery, self._notice = site, provider, bakery, notice

    async def answer(self, query: Query) -> Answer:
        try:
            text = json.dumps({"told": await self._told(query.words)})
        except (ProviderError, CommandError, OSError) as error:
            text = json.dumps({"refused": str(error)})
        if len(text) > TOLD_LENGTH_MAX:
            text = json.dumps({"refused": f"the answer has {len(text)} characters, which can't be sent"})
        return Answer(query.query_id, told=text)

    async def _told(self, words: Sequence[str]) -> Any:
        match list(words):
            case ["pool", reason, *rest]:
                told = await asyncio.to_thread(self._work_on_pool, rest, reason)
                if not isinstance(told, str):
                    return [asdict(row) for row in told]
                text = told if reason in told else f"{told} ({reason})"
                self._notice(Notice(f"pool.{rest[0]}", text))
                return told
            case ["room", hosts]:
                return await self._provider.room(int(hosts))
            case ["images"]:
                images, bakes = await self._bakery.there()
                return {"images": list(map(asdict, images)), "bakes": list(map(asdict, bakes))}
            case ["bake", digest, name, by, *check]:
                return asdict(self._bakery.begin(BakeOrder(Digest(digest), name, tuple(check), by)))
            case _:
                raise CommandError(f"this agent does not know how to {' '.join(words)}: is it older?")

    def _work_on_pool(self, words: Sequence[str], reason: str) -> list[Row] | str:
        settings = self._site.settings
        if settings.provider != SSH_POOL.name:
            raise CommandError(f"provider is {settings.provider}: only ssh_pool has a pool of machines")
        return work_on_pool(settings.section(SSH_POOL.name, SshPoolOptions), self._site, words, reason)

"""Answers what the controller asks of this region's provider or balancer alone, for people: the machines of
its pool, whether there is room for more hosts, images to be baked, where clients can come in.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import assert_never

from repave_agent.core.ports import BalancerError, Frontend, MisfitError, Provider, ProviderError
from repave_agent.core.ports import WayIn as Found
from repave_agent.kinds import CommandError, Site
from repave_agent.packages.baking import Bakery
from repave_agent.providers.ssh_pool import PROVIDER as SSH_POOL
from repave_agent.providers.ssh_pool.options import SshPoolOptions
from repave_agent.providers.ssh_pool.pool import change_machine, list_machines
from repave_protos.protocol.queries import (
    BakeOrder,
    Bakes,
    ChangeMachine,
    Content,
    Done,
    FindRoom,
    FindWayIn,
    Front,
    ListBakes,
    ListMachines,
    Machines,
    OfProvider,
    Refusal,
    Room,
    UnknownQuestion,
    WayIn,
)
from repave_protos.protocol.values import Notice


async def answer_way_in(ask: Callable[[Frontend], Awaitable[Found]], question: FindWayIn) -> Content:
    """`ask`: the balancer's way_in."""
    try:
        found = await ask(_wanted(question))
    except BalancerError as error:
        return Refusal(str(error))
    return WayIn(found.lack, tuple(Front(each.application, each.port) for each in found.fronts))


def _wanted(question: FindWayIn) -> Frontend:
    return Frontend(question.application, question.port, question.split, fronts=question.fronts)


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

    async def answer(self, question: OfProvider | UnknownQuestion) -> Content:
        if isinstance(question, UnknownQuestion):
            return Refusal(f"this agent does not know {question.kind!r}: upgrade it")
        try:
            return await self._answer(question)
        except (ProviderError, CommandError, OSError) as error:
            return Refusal(str(error))

    async def _answer(self, question: OfProvider) -> Content:
        match question:
            case ListMachines():
                machines = await asyncio.to_thread(list_machines, self._pool(), self._site)
                return Machines(tuple(machines))
            case ChangeMachine():
                return Done(await self._change(question))
            case FindRoom():
                return await self._room(question)
            case ListBakes():
                images, bakes = await self._bakery.there()
                return Bakes(tuple(images), tuple(bakes))
            case BakeOrder():
                return Bakes(bakes=(self._bakery.begin(question),))
            case _:
                assert_never(question)

    async def _room(self, asked: FindRoom) -> Room:
        try:
            return Room(await self._provider.room(asked))
        except MisfitError as error:
            return Room("", str(error))

    async def _change(self, change: ChangeMachine) -> str:
        done = await asyncio.to_thread(change_machine, self._pool(), self._site, change)
        text = done if change.reason in done else f"{done} ({change.reason})"
        self._notice(Notice(f"pool.{change.verb}", text))
        return text

    def _pool(self) -> SshPoolOptions:
        settings = self._site.settings
        if settings.provider != SSH_POOL.name:
            raise CommandError(f"provider is {settings.provider}: only ssh_pool has a pool of machines")
        return settings.section(SSH_POOL.name, SshPoolOptions)

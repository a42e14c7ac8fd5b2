"""What a cloud supplies, so that its load balancer is a balancer of repave: how it is read and changed."""

from collections.abc import Collection
from typing import Protocol, TypeVar

from repave_agent.core.ports import BackendView, Frontend, Route, Structure, TransientError
from repave_protos.protocol.values import GroupName


class StaleError(TransientError):
    """The call was decided by what is there no longer, or while something else was under way. Nothing was
    done: what is there is looked at again."""


class Call(Protocol):
    """One change. `str` of it is the same whenever the same thing is tried again."""

    @property
    def part(self) -> str:
        """What it is for: a group, an application, or APPLICATION/MORE. Where the cloud refuses it, the rest
        goes on without that part. "": nothing goes on."""


State = TypeVar("State")
OneCall = TypeVar("OneCall", bound=Call)


class LoadBalancer(Protocol[State, OneCall]):
    """One load balancer of a cloud, and what is repave's of it: a `State`, whether as read or as wanted.
    What waits for the cloud raises BalancerError and ProviderError.
    """

    kind: str
    """What the balancer is called in settings."""
    vendor: str
    """The cloud's service, in words for people."""
    named: str
    """The load balancer, as settings name it."""
    address: str
    """Where clients reach it, once it is found."""
    sees_idle: bool
    """Health is seen of groups without traffic too, so that one can be given back what it lost."""

    async def find(self) -> None:
        """Finds out which one is named. Costs no call once that is known."""

    async def owners(self) -> list[str]:
        """By the marks on it."""

    async def own(self, owner: str) -> None:
        """Marks it as this owner's, and no other's."""

    async def disown(self) -> None:
        """Takes the marks of all owners away."""

    def how_to_disown(self, owner: str) -> str:
        """What a person does when that owner is gone, in words."""

    async def read(self) -> State:
        """All of it, once nothing is under way."""

    async def is_current(self, state: State, *, settles: bool) -> bool:
        """Whether nothing has changed since it was read, where that costs less than to read all; else False.
        `settles`: once nothing is under way. Otherwise a change that is under way is none yet."""

    def is_empty(self, state: State) -> bool:
        """Whether nothing of it is repave's."""

    def wanted(self, structure: Structure, routes: tuple[Route, ...]) -> State:
        """What shall be there."""

    def next_call(
        self, present: State, wanted: State, without: Collection[str], *, is_hurried: bool
    ) -> OneCall | None:
        """The call that brings it nearer to what is wanted, but for the parts that are left out; None when
        there is none. Pure. What takes traffic is made first and taken away last. `is_hurried`: without what
        no request waits for."""

    async def perform(self, call: OneCall) -> None:
        """Also raises GoneError, LostError and StaleError: then it is looked at again."""

    def after(self, present: State, wanted: State, call: OneCall) -> State | None:
        """What is there once that call was accepted, where it is known without a look. Pure."""

    async def settle(self) -> None:
        """Returns when nothing is under way."""

    def structure_in(self, state: State, known: Structure) -> Structure:
        """As it is there; as `known`, where that is what was made there, for clouds hold less. Pure."""

    def routes_in(self, state: State, structure: Structure, known: tuple[Route, ...]) -> tuple[Route, ...]:
        """As they are there; as `known`, where that is what was given there. None names a spare. Pure."""

    async def backends(
        self, state: State, structure: Structure, leaving: Collection[GroupName]
    ) -> tuple[BackendView, ...]:
        """Health of every group, and connections of those that have had traffic and have none now."""

    def misfit(self, frontend: Frontend) -> str:
        """Why it can't have such a frontend, in words; "" when it can. Pure."""

    async def taken(self, frontend: Frontend) -> str:
        """Who else has its port, in words; "" when it is free or ours."""

    async def troubles(self) -> list[str]:
        """What is wrong with it there, in words."""

    async def close(self) -> None: ...

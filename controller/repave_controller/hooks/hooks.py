"""Takes webhooks in, and does what they lead to: verified and saved before they are answered, carried out
after that, in order, by the one controller whose turn it is."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import structlog

from repave_controller.core.domain.application import Event
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.ports import Record, Store, StoreError
from repave_controller.hooks.deliveries import OPEN, Deliveries, Delivery, again, received
from repave_controller.hooks.keys import Keys, NoKey
from repave_controller.hooks.payloads import Built, built_of
from repave_controller.hooks.policy import Ignored, Unusable, Wanted, judge
from repave_controller.hooks.verification import Arrived, is_known_by_body, payload_of, verified
from repave_controller.operations.releasing import Act, Failed, Release, Releasing, automatic
from repave_controller.runtime.broadcast import Broadcast
from repave_controller.security.outbound import Outbound
from repave_controller.security.principals import Principal, Role
from repave_controller.settings import HookSettings

log = structlog.get_logger()

TRIES_MAX: Final = 12
WAIT_SECONDS_MAX: Final = 900.0
LOOK_SECONDS: Final = 5.0
SECRETS_BYTES_MAX: Final = 64 * 1024
SPEC_BYTES_MAX: Final = 1024 * 1024
REPLAYED: Final = (
    "it happened before all that is remembered of this hook, so that it may have come before; "
    "redeliver it if it is meant"
)
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", re.DOTALL)

SpecOf = Callable[[str], Awaitable[str | None]]
"""The spec of the release that serves an application."""


class CantVerify(Exception):
    """It is our fault, or its sender's, that a delivery can't be judged now. The text names no secret."""


class Hooks:
    """One for a controller. `act_with`, then `run`: without them nothing follows."""

    def __init__(
        self,
        settings: Mapping[str, HookSettings],
        store: Store,
        clock: Callable[[], float],
        is_mine: Callable[[str], bool],
        tell: Callable[[Sequence[Event]], None],
        spec_of: SpecOf,
        outbound: Outbound,
    ) -> None:
        """`is_mine`: whether this controller carries out what comes for a hook; `tell` gets events that were
        saved."""
        self.settings = settings
        self._clock, self._is_mine, self._spec_of = clock, is_mine, spec_of
        self._keys = Keys(outbound, clock)
        self._news = Broadcast()
        self.deliveries = Deliveries(store, self._news.bump, tell)
        self._releasing: Releasing | None = None

    def act_with(self, act: Act) -> None:
        """Before `run`."""
        self._releasing = Releasing(act)

    def principal_of(self, name: str) -> Principal:
        hook = self.settings[name]
        return automatic(f"hook/{name}", Role(hook.role), hook.application)

    # --------------------------------------------------------------------------------------- coming in

    async def take(self, name: str, arrived: Arrived) -> tuple[Delivery, bool]:
        """The delivery as it is saved, and whether it came for the first time. Raises Refused, NotSigned,
        CantVerify, Unreadable, StoreError."""
        hook, now = self._hook(name), self._clock()
        try:
            id = verified(hook.sender, arrived, await self._secrets(name, hook), now)
        except ValueError as error:
            raise CantVerify(f"hooks.{name}: its secret can't be used: {error}") from None
        known = await self.deliveries.find(name, id)
        if known is not None:
            return known, False
        built = built_of(hook.sender, payload_of(arrived), arrived.headers)
        delivery, decided = received(name, id, arrived.sender_id, built, now), judge(hook, built)
        match decided:
            case Wanted(version, digest):
                delivery = replace(delivery, version=version, digest=digest)
                if await self._may_be_replayed(delivery, built):
                    delivery = replace(delivery, state="ignored", text=REPLAYED, ended_at=now)
            case Ignored(why):
                delivery = replace(delivery, state="ignored", text=why, ended_at=now)
            case Unusable(why):
                delivery = replace(delivery, state="failed", text=why, ended_at=now)
        told = [self._event(delivery, "hook.failed")] if isinstance(decided, Unusable) else []
        if not await self.deliveries.add(delivery, *told):
            found = await self.deliveries.find(name, id)
            return found or delivery, False
        return delivery, True

    async def _may_be_replayed(self, delivery: Delivery, built: Built) -> bool:
        """It is known by its body alone, and is older than all that is remembered."""
        if not is_known_by_body(delivery.id) or not built.at:
            return False
        return built.at < await self.deliveries.remembered_since(delivery.hook, delivery.received_at)

    async def redeliver(self, name: str, id: str, by: str) -> Delivery:
        """Does it anew. Raises Refused, StoreError."""
        self._hook(name)
        while True:
            known = await self.deliveries.find(name, id)
            if known is None:
                raise Refused(Refusal.UNKNOWN_DELIVERY, hook=name, id=id)
            if not known.version:
                raise Refused(Refusal.DELIVERY_WITHOUT_VERSION, hook=name, id=id, why=known.text)
            changed = await self.deliveries.change(known, lambda each: again(each, by))
            if changed is not None:
                return changed

    def take_in(self, records: Sequence[Record]) -> None:
        """What another controller has saved."""
        self.deliveries.take(records)

    def _hook(self, name: str) -> HookSettings:
        if name not in self.settings:
            raise Refused(Refusal.UNKNOWN_HOOK, name=name)
        return self.settings[name]

    async def _secrets(self, name: str, hook: HookSettings) -> list[str]:
        """Read each time: one that was renewed counts at once. Raises CantVerify."""
        if hook.secret is None:
            try:
                return [await self._keys.of(hook.config_url)]
            except NoKey as error:
                raise CantVerify(f"hooks.{name}: Travis's public key can't be had: {error}") from None
        try:
            text = await asyncio.to_thread(_read, hook.secret, SECRETS_BYTES_MAX)
        except (OSError, ValueError) as error:
            log.error("hook.secret_unreadable", hook=name, file=str(hook.secret), why=str(error))
            raise CantVerify(f"hooks.{name}: its secret can't be read; see the controller's log") from None
        if hook.sender == "travis":
            return _PEM.findall(text)
        return [each.strip() for each in text.splitlines() if each.strip()]

    # -------------------------------------------------------------------------------------- carried out

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for name in self.settings:
                tasks.create_task(self._serve(name), name=f"hook {name}")

    async def _serve(self, name: str) -> None:
        """What came for one hook, one after the other."""
        while True:
            seen, seconds = self._news.version, LOOK_SECONDS
            try:
                if self._is_mine(name):
                    seconds = await self._look(name)
            except StoreError as error:
                log.warning("hook.store_away", hook=name, why=str(error))
            if seconds:
                waiting = asyncio.ensure_future(self._news.wait(seen))
                await asyncio.wait({waiting}, timeout=seconds)
                waiting.cancel()

    async def _look(self, name: str) -> float:
        """Does the oldest that is to be done now; returns after how many seconds to look again."""
        now = self._clock()
        of_hook = [each for each in await self.deliveries.all() if each.hook == name]
        found = [each for each in of_hook if each.state in OPEN]
        ready = [each for each in reversed(found) if each.retry_at <= now]
        if not ready:
            return min((each.retry_at - now for each in found), default=LOOK_SECONDS) or LOOK_SECONDS
        if newer := _overtaken_by(ready[0], of_hook):
            text = f"{newer.version}, which came later, was released while this one waited for another try"
            ended = replace(ready[0], state="ignored", text=text, ended_at=now)
            await self.deliveries.change(ready[0], lambda _: ended)
        else:
            await self._carry_out(ready[0])
        return 0.0

    async def _carry_out(self, delivery: Delivery) -> None:
        try:
            done = await self._done(delivery)
        except Failed as error:
            await self._fail(delivery, error)
            return
        await self.deliveries.change(delivery, lambda _: done, self._event(done, f"hook.{done.state}"))

    async def _done(self, delivery: Delivery) -> Delivery:
        """Raises Failed, StoreError."""
        assert self._releasing is not None, "act_with comes before run"
        hook, name = self.settings[delivery.hook], f"hook/{delivery.hook}"
        spec, filename = await self._spec(hook)
        what = delivery.commit[:12] or delivery.branch or delivery.event
        release = Release(
            self.principal_of(delivery.hook),
            hook.application,
            spec,
            filename,
            delivery.version,
            delivery.digest,
            f"{name}: {delivery.event} of {what}",
            f"{name}/{delivery.id}/{delivery.asked}",
        )
        digest = await self._releasing.bring(release)
        ended = replace(delivery, digest=digest, ended_at=self._clock())
        match hook.policy:
            case "register":
                return replace(ended, state="registered", text=f"package {digest[:12]} is stored")
            case "plan":
                plan = await self._releasing.plan(release, digest)
                return replace(ended, state="planned", text=_plan_in_words(plan))
            case "release":
                accepted = await self._releasing.release(release, digest)
                return replace(
                    ended, state="released", rollout=int(accepted["rollout"]), text=_in_words(accepted)
                )

    async def _spec(self, hook: HookSettings) -> tuple[str, str]:
        """Text, and how errors call it. Raises Failed."""
        if hook.spec is None:
            text = await self._spec_of(hook.application)
            if text is None:
                raise Failed(
                    f"{hook.application} was never released, so that no spec is known: release it once, or "
                    "name a file in the hook's setting spec",
                    "spec",
                )
            return text, "repave.yaml"
        try:
            return await asyncio.to_thread(_read, hook.spec, SPEC_BYTES_MAX), str(hook.spec)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise Failed(f"{hook.spec} can't be read: {why}", "spec") from None

    async def _fail(self, delivery: Delivery, error: Failed) -> None:
        tries, now = delivery.tries + 1, self._clock()
        if error.is_passing and tries < TRIES_MAX:
            at = now + min(WAIT_SECONDS_MAX, 2.0**tries)
            waits = replace(delivery, state="waiting", text=error.text[:500], tries=tries, retry_at=at)
            await self.deliveries.change(delivery, lambda _: waits)
            return
        failed = replace(delivery, state="failed", text=error.text[:500], tries=tries, ended_at=now)
        await self.deliveries.change(delivery, lambda _: failed, self._event(failed, "hook.failed"))

    def _event(self, delivery: Delivery, kind: str) -> Event:
        hook = self.settings[delivery.hook]
        text = f"hook {delivery.hook}: {delivery.event} {delivery.version}: {delivery.text}"
        by = delivery.by or f"hook/{delivery.hook}"
        return Event(kind, text, hook.application, by=by, at=Instant(self._clock()))


def _overtaken_by(delivery: Delivery, of_hook: Sequence[Delivery]) -> Delivery | None:
    """A later one that was released: an older build never takes its place, unless a person asks for that."""
    if delivery.asked:
        return None
    later = (each for each in of_hook if each.received_at > delivery.received_at)
    return next((each for each in later if each.state == "released"), None)


def _plan_in_words(plan: Mapping[str, Any]) -> str:
    problems = [str(each.get("text", each)) for each in plan.get("problems", ())]
    return "; ".join(problems) or f"plan {plan.get('id', '')} would be taken"


def _in_words(accepted: Mapping[str, Any]) -> str:
    if accepted["is_queued"]:
        return "it waits in the queue"
    return f"{accepted['group']} is {'released already' if accepted['is_joined'] else 'on its way'}"


def _read(file: Path, bytes_max: int) -> str:
    """Raises OSError, ValueError."""
    with file.open("rb") as opened:
        content = opened.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise ValueError(f"it is larger than {bytes_max:,} bytes")
    return content.decode()

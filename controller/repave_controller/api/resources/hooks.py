"""Webhooks: taken in at /hooks/NAME, listed, done anew."""

import asyncio

from aiohttp import web

from repave_controller.api.answers.hooks import (
    DeliveriesQuery,
    DeliveryItem,
    HookItem,
    HooksAnswer,
    RedeliverRequest,
    TakenAnswer,
)
from repave_controller.api.answers.models import Items
from repave_controller.api.answers.views import time_of
from repave_controller.api.web.callers import may_read, require
from repave_controller.api.web.openapi import Repeats, Route
from repave_controller.api.web.paging import items, page
from repave_controller.api.web.problems import Problem
from repave_controller.api.web.requests import BODY_SECONDS, body_of, query_of
from repave_controller.api.web.responses import answer
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.hooks.deliveries import Delivery
from repave_controller.hooks.hooks import CantVerify, Hooks
from repave_controller.hooks.payloads import Unreadable
from repave_controller.hooks.verification import FORM, Arrived
from repave_controller.runtime.clock import SteadyClock
from repave_controller.security.principals import Permission
from repave_controller.security.rates import Rates
from repave_controller.security.standard_webhooks import NotSigned
from repave_protos.daemon.peers import peer_of

BODY_BYTES_MAX = 1 << 20
TYPES = ("application/json", FORM)
RATE = (20.0, 200.0)
"""A second, and at once: of an address."""
WRONG = (1.0, 30.0)
"""The same of those that are not signed."""


class HookRoutes:
    """One for an API. `hooks`: None where the settings name none."""

    def __init__(self, hooks: Hooks | None, clock: SteadyClock) -> None:
        self._hooks, self._clock = hooks, clock
        self._rates, self._wrong = Rates(*RATE), Rates(*WRONG)

    def routes(self) -> tuple[Route, ...]:
        one = "hooks/{hook}/deliveries/{delivery}"
        return (
            Route("GET", "hooks", self.listed, HooksAnswer),
            Route("GET", "deliveries", self.deliveries, Items[DeliveryItem], query=DeliveriesQuery),
            Route("GET", one, self.delivery, DeliveryItem, refuses=("unknown-hook", "unknown-delivery")),
            Route(
                "POST",
                f"{one}/redeliver",
                self.redeliver,
                DeliveryItem,
                RedeliverRequest,
                status=202,
                repeats=Repeats.ONCE,
                refuses=("unknown-hook", "unknown-delivery", "delivery-without-version"),
            ),
        )

    async def take(self, request: web.Request) -> web.Response:
        """Outside /v1: from a sender of the settings, which shows by its signature who it is."""
        peer = peer_of(request.remote or "") or request.remote or ""
        self._slow_down(self._rates, peer)
        if request.content_type not in TYPES:
            raise Problem(415, "not-json", f"send {' or '.join(TYPES)}")
        headers = {name.lower(): value for name, value in request.headers.items()}
        name = request.match_info["hook"]
        hooks = self._known(name)
        try:
            delivery, is_new = await hooks.take(name, Arrived(headers, await _body(request)))
        except NotSigned as error:
            self._slow_down(self._wrong, peer)
            raise Problem(401, "not-signed-in", str(error)) from None
        except Unreadable as error:
            raise Problem(400, "not-json", str(error)) from None
        except CantVerify as error:
            raise Problem(503, "store", str(error), retry_seconds=60.0) from None
        return answer(TakenAnswer(id=delivery.id, state=delivery.state, is_new=is_new), status=202)

    async def listed(self, request: web.Request) -> web.Response:
        """The hooks of the settings."""
        hooks = self._hooks
        if hooks is None:
            return answer(HooksAnswer(items=[]))
        seen = may_read(request, {each.application for each in hooks.settings.values()})
        all_of = await hooks.deliveries.all()
        found = []
        for name, each in sorted(hooks.settings.items()):
            if each.application not in seen:
                continue
            of_hook = [one for one in all_of if one.hook == name]
            found.append(
                HookItem(
                    name=name,
                    sender=each.sender,
                    application=each.application,
                    policy=each.policy,
                    path=f"/hooks/{name}",
                    deliveries=len(of_hook),
                    failed=sum(one.state == "failed" for one in of_hook),
                    last_at=time_of(Instant(of_hook[0].received_at)) if of_hook else None,
                )
            )
        return answer(HooksAnswer(items=found))

    async def deliveries(self, request: web.Request) -> web.Response:
        """What came, newest first."""
        query = query_of(request, DeliveriesQuery)
        hooks = self._hooks
        if query.hook:
            hooks = self._known(query.hook)
            require(request, Permission.READ, hooks.settings[query.hook].application)
        if hooks is None:
            return items(request, ())
        seen = may_read(request, {each.application for each in hooks.settings.values()})
        shown = [
            each
            for each in await hooks.deliveries.all()
            if query.hook in ("", each.hook)
            and each.hook in hooks.settings
            and hooks.settings[each.hook].application in seen
        ]
        on_page, following = page(shown, query, lambda each: (-each.received_at, each.name))
        return items(request, (_item(hooks, each) for each in on_page), following)

    async def delivery(self, request: web.Request) -> web.Response:
        """One webhook that came."""
        name, id = request.match_info["hook"], request.match_info["delivery"]
        hooks = self._known(name)
        require(request, Permission.READ, hooks.settings[name].application)
        found = await hooks.deliveries.find(name, id)
        if found is None:
            raise Refused(Refusal.UNKNOWN_DELIVERY, hook=name, id=id)
        return answer(_item(hooks, found))

    async def redeliver(self, request: web.Request) -> web.Response:
        """Do what a webhook led to anew."""
        asked = await body_of(request, RedeliverRequest)
        name, id = request.match_info["hook"], request.match_info["delivery"]
        hooks = self._known(name)
        require(request, Permission.RELEASE, hooks.settings[name].application)
        return answer(_item(hooks, await hooks.redeliver(name, id, asked.by)), status=202)

    def _known(self, name: str) -> Hooks:
        if self._hooks is None or name not in self._hooks.settings:
            raise Refused(Refusal.UNKNOWN_HOOK, name=name)
        return self._hooks

    def _slow_down(self, rates: Rates, peer: str) -> None:
        seconds = rates.take(peer, self._clock())
        if seconds:
            raise Problem(
                429, "too-many-requests", "too many webhooks; try again later", retry_seconds=seconds
            )


async def _body(request: web.Request) -> bytes:
    """Raises Problem."""
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.content.iter_any():
                content += part
                if len(content) > BODY_BYTES_MAX:
                    raise Problem(
                        413, "request-entity-too-large", f"a webhook has at most {BODY_BYTES_MAX:,} bytes"
                    )
    except TimeoutError:
        raise Problem(408, "slow-body", f"the body took longer than {BODY_SECONDS:.0f} s") from None
    return bytes(content)


def _item(hooks: Hooks, delivery: Delivery) -> DeliveryItem:
    def at(seconds: float) -> object:
        return time_of(Instant(seconds)) if seconds else None

    return DeliveryItem.model_validate(
        {
            "hook": delivery.hook,
            "id": delivery.id,
            "sender_id": delivery.sender_id,
            "received_at": at(delivery.received_at) or time_of(Instant(0.0)),
            "event": delivery.event,
            "state": delivery.state,
            "text": delivery.text,
            "application": hooks.settings[delivery.hook].application,
            "version": delivery.version,
            "digest": delivery.digest,
            "branch": delivery.branch,
            "commit": delivery.commit,
            "rollout": delivery.rollout,
            "tries": delivery.tries,
            "retry_at": at(delivery.retry_at) if delivery.state == "waiting" else None,
            "ended_at": at(delivery.ended_at),
            "asked": delivery.asked,
        }
    )

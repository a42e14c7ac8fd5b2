"""Promotions between stacks: what is proposed; approving and dismissing it."""

from aiohttp import web
from pydantic import BaseModel

from repave_controller.api.answers.models import AcceptedAnswer
from repave_controller.api.answers.promotions import (
    ApprovedAnswer,
    ApproveRequest,
    DismissRequest,
    PromotionItem,
    PromotionsAnswer,
)
from repave_controller.api.answers.views import time_of
from repave_controller.api.web.callers import may_read, principal_of
from repave_controller.api.web.openapi import Repeats, Route
from repave_controller.api.web.problems import Handler, Problem
from repave_controller.api.web.requests import body_of
from repave_controller.api.web.responses import answer
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.operations.promotion import Promotions, Proposal
from repave_controller.operations.releasing import Failed


class PromotionRoutes:
    """One for an API. `promotions`: None where the settings name none."""

    def __init__(self, promotions: Promotions | None) -> None:
        self._promotions = promotions

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "promotions", self.listed, PromotionsAnswer),
            self._decision("approve", self.approve, ApprovedAnswer, ApproveRequest),
            self._decision("dismiss", self.dismiss, PromotionItem, DismissRequest),
        )

    def _decision(
        self, verb: str, handler: Handler, answers: type[BaseModel], body: type[BaseModel]
    ) -> Route:
        path = f"applications/{{application}}/promotion/{verb}"
        return Route(
            "POST", path, handler, answers, body, status=202, repeats=Repeats.ONCE, refuses=("no-promotion",)
        )

    async def listed(self, request: web.Request) -> web.Response:
        """The newest proposal for each application."""
        known = await self._promotions.all() if self._promotions is not None else []
        seen = set(may_read(request, [each.application for each in known]))
        return answer(PromotionsAnswer(items=[_item(each) for each in known if each.application in seen]))

    async def approve(self, request: web.Request) -> web.Response:
        """Release what is proposed, in the name of who approves."""
        await body_of(request, ApproveRequest)
        name = request.match_info["application"]
        try:
            proposal, accepted = await self._of(name).approve(name, principal_of(request))
        except Failed as error:
            status = 503 if error.is_passing else 409
            raise Problem(status, error.rule or "store", error.text) from None
        told = AcceptedAnswer.model_validate(accepted)
        return answer(ApprovedAnswer(proposal=_item(proposal), accepted=told), status=202)

    async def dismiss(self, request: web.Request) -> web.Response:
        """Propose it no more, until there is another release."""
        asked = await body_of(request, DismissRequest)
        name = request.match_info["application"]
        return answer(_item(await self._of(name).dismiss(name, asked.by, asked.reason)), status=202)

    def _of(self, name: str) -> Promotions:
        if self._promotions is None:
            raise Refused(Refusal.NO_PROMOTION, application=name)
        return self._promotions


def _item(proposal: Proposal) -> PromotionItem:
    return PromotionItem(
        application=proposal.application,
        source=proposal.source,
        promotion=proposal.promotion,
        version=proposal.version,
        digest=proposal.digest,
        state=proposal.state,
        text=proposal.text,
        proposed_at=time_of(Instant(proposal.proposed_at)),
        by=proposal.by,
        ended_at=time_of(Instant(proposal.ended_at)) if proposal.ended_at else None,
    )

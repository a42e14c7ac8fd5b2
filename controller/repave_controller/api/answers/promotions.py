"""What the API gives and takes of promotions between stacks."""

from datetime import datetime

from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.models import REASON_LENGTH_MAX, AcceptedAnswer, Body


class PromotionItem(Answer):
    """The newest proposal for an application."""

    application: str = Field(description="What it is proposed for.")
    source: str = Field(description="Where it was released, and has soaked.")
    promotion: str = Field(description="Its name in the settings.")
    version: str
    digest: str
    state: str = Field(description="proposed, approved, dismissed, superseded or failed.")
    text: str
    proposed_at: datetime
    by: str = Field(description="Who decided.")
    ended_at: datetime | None


class PromotionsAnswer(Answer):
    """All of them, by application."""

    items: list[PromotionItem]


class ApproveRequest(Body):
    """Release what is proposed."""

    by: str = Field("", max_length=100)


class DismissRequest(Body):
    """Propose it no more, until there is another release."""

    by: str = Field("", max_length=100)
    reason: str = Field("", max_length=REASON_LENGTH_MAX)


class ApprovedAnswer(Answer):
    """The proposal, and the release that it became."""

    proposal: PromotionItem
    accepted: AcceptedAnswer

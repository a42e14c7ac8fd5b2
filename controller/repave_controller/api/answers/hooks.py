"""What the API gives and takes of webhooks that come in."""

from datetime import datetime

from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.models import Body
from repave_controller.api.answers.queries import Name, PageQuery


class HookItem(Answer):
    """A hook of the settings."""

    name: str
    sender: str
    application: str
    policy: str
    path: str = Field(description="Where its sender posts to.")
    deliveries: int
    failed: int
    last_at: datetime | None


class HooksAnswer(Answer):
    """All hooks, by name."""

    items: list[HookItem]


class DeliveryItem(Answer):
    """One webhook that came."""

    hook: str
    id: str
    sender_id: str = Field(description="As its sender calls it.")
    received_at: datetime
    event: str
    state: str = Field(
        description="received, waiting (for another try), ignored, registered, planned, released or failed."
    )
    text: str = Field(description="What came of it, or why nothing did.")
    application: str
    version: str
    digest: str
    branch: str
    commit: str
    rollout: int
    tries: int
    retry_at: datetime | None
    ended_at: datetime | None
    asked: int = Field(description="How often it was redelivered.")


class DeliveriesQuery(PageQuery):
    """Of one hook."""

    hook: Name = Field("", description="Empty: of all.")


class RedeliverRequest(Body):
    """Do what it led to anew."""

    by: str = Field("", max_length=100)


class TakenAnswer(Answer):
    """A webhook was verified and saved."""

    id: str
    state: str
    is_new: bool = Field(description="False: it came before, and nothing follows from it again.")

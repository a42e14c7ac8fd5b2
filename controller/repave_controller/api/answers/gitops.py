"""What the API gives of git repositories that are followed."""

from datetime import datetime

from pydantic import Field

from repave_controller.api.answers.answer import Answer


class GitOpsFile(Answer):
    """A spec of the folder, beside what runs."""

    path: str
    application: str
    state: str = Field(description="in-step, moving, drifted, not-released, failed or deleted.")
    text: str = Field(description="Why.")
    version: str = Field(description="As git has it.")
    digest: str
    runs_version: str = Field(description="What serves.")
    runs_digest: str
    at: datetime
    retry_at: datetime | None = Field(None, description="When it is tried again though it has not changed.")


class GitOpsItem(Answer):
    """A repository of the settings."""

    name: str
    repository: str
    branch: str
    path: str
    policy: str
    commit: str
    looked_at: datetime | None
    error: str = Field(description="Why it could not be looked at last.")
    files: list[GitOpsFile]


class GitOpsAnswer(Answer):
    """All of them, by name."""

    items: list[GitOpsItem]

"""What every model of the API shares."""

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """Built when it is first used: a start waits for none of those whose routes are never called."""

    model_config = ConfigDict(defer_build=True)

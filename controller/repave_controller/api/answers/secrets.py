"""Where secrets of hosts are kept, as the API tells it. What they are the controller never knows."""

from collections.abc import Iterable

from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_protos.protocol.values import SecretReference


class SecretItem(Answer):
    """Where a secret of hosts is kept; what it is only hosts and their agent know."""

    name: str
    variable: str = Field(description="What a host finds: the secret, or the path of the file with it.")
    source: str = Field(description="vault, file or env of the region's agent.")
    where: str
    as_file: bool


def secret_items(secrets: Iterable[SecretReference]) -> list[SecretItem]:
    return [
        SecretItem(
            name=each.name,
            variable=each.variable,
            source=each.source,
            where=each.where,
            as_file=each.as_file,
        )
        for each in secrets
    ]

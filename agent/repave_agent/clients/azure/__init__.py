"""What every part that works on Azure takes."""

from typing import Annotated

from pydantic import Field

from repave_protos.daemon.settings import Settings

ENDPOINT = "https://management.azure.com"


class AzureOptions(Settings):
    """`subscription`: AZURE_SUBSCRIPTION_ID when it is empty. `authority`: AZURE_AUTHORITY_HOST when it is
    empty. `calls_per_second`: of the whole agent."""

    subscription: str = ""
    resource_group: str = ""
    endpoint: str = ENDPOINT
    authority: str = ""
    calls_per_second: Annotated[float, Field(ge=0.0, le=1000.0)] = 10.0

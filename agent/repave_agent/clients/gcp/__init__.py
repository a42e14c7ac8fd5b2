"""What every part that works on Google Cloud takes."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from repave_protos.daemon.settings import Settings

ENDPOINT = "https://compute.googleapis.com"


class GoogleOptions(Settings):
    """`project`: that of the credentials when empty. `credentials`: a file, else what Google's tools find.
    `calls_per_second`: of the whole agent."""

    project: str = ""
    credentials: Path | None = None
    endpoint: str = ENDPOINT
    network: str = "default"
    subnetwork: str = ""
    calls_per_second: Annotated[float, Field(ge=0.0, le=1000.0)] = 10.0

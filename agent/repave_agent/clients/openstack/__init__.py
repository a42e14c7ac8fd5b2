"""What every part that works on an OpenStack cloud takes."""

from pathlib import Path
from typing import Literal

from repave_protos.daemon.settings import Settings


class CloudOptions(Settings):
    """`cloud`: its name in clouds.yaml; OS_* of the environment when it is empty. The others: what counts
    instead of what is said there."""

    cloud: str = ""
    region_name: str = ""
    interface: Literal["", "public", "internal", "admin"] = ""
    cacert: Path | None = None

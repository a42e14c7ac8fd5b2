"""What every part that works on an OpenStack cloud takes."""

from repave_protos.daemon.settings import Settings


class CloudOptions(Settings):
    """`cloud`: its name in clouds.yaml; OS_* of the environment when it is empty."""

    cloud: str = ""

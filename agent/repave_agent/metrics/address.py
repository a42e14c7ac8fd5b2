"""Whether the address for metrics can be had, by the settings alone."""

from repave_agent.settings import MetricsSettings
from repave_protos.daemon.endpoint import host_of
from repave_protos.protocol.channel import is_loopback


class ListenError(OSError):
    """Nothing can be listened to as the settings say. The text names the setting and the fix."""


def check(settings: MetricsSettings) -> None:
    """Raises ListenError: plaintext beyond this machine is a choice, and never a default."""
    if not settings.listen:
        return
    if (settings.certificate is None) != (settings.key is None):
        raise ListenError("metrics.certificate and metrics.key belong together: give both, or none")
    host, port = host_of(settings.listen)
    if settings.certificate is None and not settings.plaintext and not is_loopback(host):
        raise ListenError(
            f"metrics.listen: {settings.listen} is not a loopback address, and who reaches it reads the "
            f"metrics: give metrics.certificate and metrics.key; or say metrics.plaintext = true where the "
            f"network is trusted; or use 127.0.0.1:{port}"
        )

"""Traces by OpenTelemetry, where the standard variables of the environment ask for them. Else nothing of it
is imported, and nothing is done."""

from collections.abc import Mapping

import structlog

from repave_protos.daemon.spans import Spans

log = structlog.get_logger()


def spans_from(environ: Mapping[str, str], service: str, version: str, **resource: str) -> Spans | None:
    """As OTEL_EXPORTER_OTLP_ENDPOINT and the like say; None where no endpoint is named."""
    if not _is_wanted(environ):
        return None
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "http/protobuf"):
        log.error(
            "traces.off", why=f"OTEL_EXPORTER_OTLP_PROTOCOL: only http/protobuf is spoken, not {protocol}"
        )
        return None
    try:
        from repave_protos.daemon.otlp import Exporter  # the extra `otel`, slow to import
    except ImportError as error:
        log.error(
            "traces.off", why=f"OTEL_EXPORTER_OTLP_ENDPOINT is set; pip install 'repave[otel]' ({error})"
        )
        return None
    return Exporter(service, version, resource)


def _is_wanted(environ: Mapping[str, str]) -> bool:
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "otlp") not in ("", "otlp"):
        return False
    return bool(
        environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    )

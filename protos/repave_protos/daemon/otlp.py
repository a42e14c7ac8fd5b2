"""Sends spans by OTLP over HTTP, with the SDK of OpenTelemetry: in batches, from a thread of its own."""

from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from repave_protos.daemon.spans import Context, Span

TIMEOUT_MILLIS = 3000
NANOSECONDS = 1_000_000_000


class Exporter:
    """Implements spans.Spans. Endpoint, headers and the like are read from the environment by the SDK."""

    def __init__(self, service: str, version: str, resource: Mapping[str, str]) -> None:
        told = {"service.name": service, "service.version": version, **resource}
        self._resource = Resource.create(told)
        self._scope = InstrumentationScope("repave", version)
        self._processor = BatchSpanProcessor(OTLPSpanExporter())

    def tell(self, span: Span) -> None:
        failed = Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.OK)
        self._processor.on_end(
            ReadableSpan(
                name=span.name,
                context=_context(span.context),
                parent=_context(span.parent) if span.parent is not None else None,
                resource=self._resource,
                attributes=dict(span.attributes),
                links=[Link(_context(each)) for each in span.links],
                kind=SpanKind.SERVER if span.is_server else SpanKind.INTERNAL,
                instrumentation_scope=self._scope,
                status=failed,
                start_time=int(span.began * NANOSECONDS),
                end_time=int(max(span.began, span.ended) * NANOSECONDS),
            )
        )

    def close(self) -> None:
        self._processor.force_flush(TIMEOUT_MILLIS)
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # of the SDK


def _context(context: Context) -> SpanContext:
    return SpanContext(
        context.trace, context.span, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )

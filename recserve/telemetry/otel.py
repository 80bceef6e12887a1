"""OpenTelemetry recorder of spans, which exports by OTLP over HTTP. Imported only where tracing is on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from recserve.telemetry.requests import RequestContext, current, enter, leave
from recserve.telemetry.tracing import Answered

_NAME = "recserve"


class OtelRecorder:
    """Recorder of spans of one process.

    Work for a batch belongs to several requests. Its span lies in the trace of the first of them that is
    sampled and links to the others; each of these gets a span of its own over the same time that links back.

    Args:
        stage: Role of the process.
        replica: Name of the process.
        node: Its machine.
    """

    def __init__(self, stage: str, replica: str, node: str) -> None:
        facts = {"service.name": f"{_NAME}-{stage}", "service.instance.id": replica, "host.name": node}
        # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say comes before.
        named = Resource.create().attributes
        resource = Resource.create({name: value for name, value in facts.items() if _unset(named.get(name))})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=True)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(_NAME)

    @contextmanager
    def request(self, traceparent: bytes | None) -> Iterator[Answered]:
        """See :class:`recserve.telemetry.tracing.SpanRecorder`."""
        came_with = None if traceparent is None else parsed(traceparent.decode("latin-1"))
        span = self._start("ingress", came_with, (), SpanKind.SERVER)

        def answered(method: str, route: str, status: int) -> None:
            span.set_attribute("http.request.method", method)
            span.set_attribute("http.route", route)
            span.set_attribute("http.response.status_code", status)
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.set_status(StatusCode.ERROR)

        with self._inside(span, current()):
            yield answered

    @contextmanager
    def span(self, name: str, **attributes: str | int) -> Iterator[None]:
        """See :class:`recserve.telemetry.tracing.SpanRecorder`."""
        context = current()
        found = (parsed(parent) for parent in context.traceparents)
        requests = [request for request in found if request is not None]
        requests.sort(key=lambda request: not request.trace_flags.sampled)
        parent, links = (requests[0] if requests else None), requests[1:]
        began = time.time_ns()
        span = self._start(name, parent, links, SpanKind.INTERNAL)
        span.set_attributes({f"{_NAME}.{key}": value for key, value in attributes.items()})
        try:
            with self._inside(span, context):
                yield
        finally:
            for other in links:
                shared = self._start(name, other, [span.get_span_context()], SpanKind.INTERNAL, began)
                shared.end()

    def close(self) -> None:
        """See :class:`recserve.telemetry.tracing.SpanRecorder`."""
        self._provider.shutdown()

    def _start(
        self,
        name: str,
        parent: SpanContext | None,
        links: list[SpanContext] | tuple[()],
        kind: SpanKind,
        began: int | None = None,
    ) -> Span:
        above = None if parent is None else set_span_in_context(NonRecordingSpan(parent))
        return self._tracer.start_span(
            name, above, kind, links=[Link(link) for link in links], start_time=began
        )

    @contextmanager
    def _inside(self, span: Span, context: RequestContext) -> Iterator[None]:
        """Have spans of the work inside lie below a span, which ends with the work."""
        span.set_attribute(f"{_NAME}.request_ids", context.request_ids)
        token = enter(RequestContext(context.request_ids, (formatted(span.get_span_context()),)))
        try:
            yield
        except BaseException as error:
            # The message may hold what users asked for; its type says enough here.
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            leave(token)
            span.end()


def formatted(span: SpanContext) -> str:
    """A span as the header ``traceparent`` names it."""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


def parsed(traceparent: str) -> SpanContext | None:
    """The span that a header ``traceparent`` names; None for one that names none."""
    version, _, rest = traceparent.strip().partition("-")
    parts = rest.split("-")
    if version == "ff" or len(version) != 2 or len(parts) < 3 or (version == "00" and len(parts) > 3):
        return None
    try:
        trace_id, span_id, flags = (int(part, 16) for part in parts[:3])
    except ValueError:
        return None
    if [len(part) for part in parts[:3]] != [32, 16, 2]:
        return None
    found = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return found if found.is_valid else None


def _unset(value: object) -> bool:
    """Whether a resource attribute is missing, or what the SDK puts in place of a missing one."""
    return value is None or str(value).startswith("unknown_service")

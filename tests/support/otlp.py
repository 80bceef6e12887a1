"""Receiver of spans: an OTLP collector over HTTP that keeps what it is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from recserve.telemetry.otel import OtelRecorder
from recserve.telemetry.tracing import disable, record_with


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it came, ids in hexadecimal."""

    name: str
    trace: str
    id: str
    parent: str
    links: frozenset[str]
    attributes: dict[str, Any]
    service: str
    failed: bool


class OtlpReceiver:
    """A server on a free port of this machine; use it in a ``with`` block."""

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/v1/traces":
                    receiver.spans += received(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> OtlpReceiver:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def of(self, trace: str) -> list[ReceivedSpan]:
        """The spans of a trace so far."""
        return [span for span in self.spans if span.trace == trace]

    def wait(self, enough: Callable[[list[ReceivedSpan]], bool], seconds: float = 30) -> list[ReceivedSpan]:
        """The spans, once they are enough."""
        end = time.monotonic() + seconds
        while not enough(self.spans):
            assert time.monotonic() < end, [(span.name, span.service) for span in self.spans]
            time.sleep(0.05)
        return self.spans


def received(request: ExportTraceServiceRequest) -> list[ReceivedSpan]:
    return [
        ReceivedSpan(
            name=span.name,
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            links=frozenset(link.span_id.hex() for link in span.links),
            attributes={one.key: value_of(one.value) for one in span.attributes},
            service=next(
                value_of(one.value) for one in group.resource.attributes if one.key == "service.name"
            ),
            failed=span.status.code == 2,
        )
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def value_of(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(one) for one in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def recording(monkeypatch: pytest.MonkeyPatch, stage: str) -> Iterator[OtlpReceiver]:
    """A receiver that gets the spans of this process, which is of a stage."""
    with OtlpReceiver() as started:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", started.endpoint)
        record_with(OtelRecorder(stage, "r1", "n1"))
        yield started
        disable()

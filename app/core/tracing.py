"""Traces: the shell decides which requests are traced and opens their spans; all others pay next to nothing.

OpenTelemetry's own instrumentations of SQLAlchemy and Redis are suppressed in every context but that of a traced
request. A caller's W3C context is taken up; his wish to be traced is granted a few times a second.
"""

import random
import re
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from sqlalchemy import Engine

from app.core.config import Settings

if TYPE_CHECKING:  # loaded at run time only by those who trace
    from opentelemetry.trace import Span

TRACEPARENT: Final = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
ASKED_A_SECOND: Final = 10
FAILED_STATUS: Final = 500

Headers = list[tuple[bytes, bytes]]
Parent = tuple[str, str, bool]


class Tracing(Protocol):
    """Opens the span of a request that is to be traced."""

    def begin(self, parent: Parent | None) -> "Traced | None": ...

    def observe_engine(self, engine: Engine) -> None: ...

    def close(self) -> None: ...


class Traced:
    """A request under way that is traced."""

    def __init__(self, span: "Span", token: Any) -> None:
        self._span = span
        self._token = token
        self.trace_id = f"{span.get_span_context().trace_id:032x}"

    def end(self, *, method: str, endpoint: str, status: int, request_id: str) -> None:
        """Close the span. Neither the path nor the query goes into it: they may say who reads what."""
        from opentelemetry import context, trace  # noqa: PLC0415  # 12 MiB and 0.1 s for those who don't trace

        self._span.update_name(f"{method} {endpoint}")
        self._span.set_attributes(
            {
                "http.request.method": method,
                "http.route": endpoint,
                "http.response.status_code": status,
                "request_id": request_id,
            }
        )
        if status >= FAILED_STATUS:
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end()
        context.detach(self._token)


def parent_of(headers: Headers) -> Parent | None:
    """The caller's trace, his span, and whether he wants the request traced. Source: W3C Trace Context, level 1."""
    for name, value in headers:
        if name == b"traceparent":
            found = TRACEPARENT.fullmatch(value)
            return (found[1].decode(), found[2].decode(), bool(int(found[3], 16) & 1)) if found else None
    return None


def start(settings: Settings) -> Tracing | None:
    """Begin to trace, if OTEL_EXPORTER_OTLP_ENDPOINT says where to; call it before anything that is to be traced."""
    if not settings.otel_exporter_otlp_endpoint:
        return None
    return _OpenTelemetry(settings)


class _OpenTelemetry:
    def __init__(self, settings: Settings) -> None:
        # 12 MiB and 0.1 s for those who don't trace.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # only for those who set it
        from opentelemetry.instrumentation.redis import RedisInstrumentor  # noqa: PLC0415  # only for those who set it
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor  # noqa: PLC0415  # only for those who set it
        from opentelemetry.instrumentation.utils import suppress_instrumentation  # noqa: PLC0415  # only for those who set it
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # only for those who set it
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  # only for those who set it
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415  # only for those who set it

        resource = Resource.create({"service.name": "library", "service.version": settings.version})
        self._provider = TracerProvider(resource=resource)
        endpoint = f"{settings.otel_exporter_otlp_endpoint.rstrip('/')}/v1/traces"
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        self._tracer = self._provider.get_tracer("library")
        self._sqlalchemy = SQLAlchemyInstrumentor()
        self._redis = RedisInstrumentor()
        if settings.redis_url and not self._redis.is_instrumented_by_opentelemetry:
            self._redis.instrument(tracer_provider=self._provider)
        # For the whole process: tasks inherit it. Only `begin` starts a context without it.
        self._suppressed = suppress_instrumentation()
        self._suppressed.__enter__()
        self._share = settings.otel_traces_sampler_arg
        self._second = 0
        self._asked = 0

    def observe_engine(self, engine: Engine) -> None:
        # It says that it is for SQLAlchemy below 2.1; a test sees that it works with ours.
        self._sqlalchemy.instrument(engine=engine, tracer_provider=self._provider, skip_dep_check=True)
        # It takes one engine, and thinks that it is done.
        self._sqlalchemy._is_instrumented_by_opentelemetry = False  # noqa: SLF001  # there is no other way

    def begin(self, parent: Parent | None) -> Traced | None:
        """The span of a request, current from now on; None if it isn't traced."""
        is_traced = self._grants_wish() if parent and parent[2] else random.random() < self._share  # noqa: S311  # spreads, guards nothing
        if not is_traced:
            return None
        from opentelemetry import context, trace  # noqa: PLC0415  # 12 MiB and 0.1 s for those who don't trace

        around = context.Context()
        if parent:
            flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
            caller = trace.SpanContext(int(parent[0], 16), int(parent[1], 16), is_remote=True, trace_flags=flags)
            around = trace.set_span_in_context(trace.NonRecordingSpan(caller), around)
        span = self._tracer.start_span("request", context=around, kind=trace.SpanKind.SERVER)
        return Traced(span, context.attach(trace.set_span_in_context(span, around)))

    def close(self) -> None:
        """Hand over what is left, and trace nothing any more."""
        self._suppressed.__exit__(None, None, None)
        self._provider.shutdown()

    def _grants_wish(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._asked = second, 0
        self._asked += 1
        return self._asked <= ASKED_A_SECOND

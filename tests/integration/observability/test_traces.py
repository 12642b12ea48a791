"""Traces of a running service, as a collector receives them."""

import signal
import time

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from app.core.config import Settings
from app.core.exchange import Message, Receive, Scope, Send
from app.core.middleware import Endpoints, Shell
from app.core.tracing import ASKED_A_SECOND, start
from tests import evidence
from tests.integration.commands.command_line import CommandLine
from tests.integration.observability.collector import Collector, collector

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ASKED, UNASKED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"
CANARY = "canary-7261"
ROUNDS, REQUESTS = 5, 2_000


def spans_of(taking: Collector) -> list[Span]:
    found: list[Span] = []
    for _, body in taking.taken:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                found.extend(scope.spans)
    return found


def test_a_caller_s_trace_goes_on_through_the_request_into_the_database(settings: Settings) -> None:
    with collector() as taking:
        library = CommandLine.of(settings)
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{taking.address}", "OTEL_TRACES_SAMPLER_ARG": "0"}
        with library.serving(SCHEDULER_ENABLED="false", **traced) as service:
            url = f"{service.address}/api/v1/books?q={CANARY}"
            assert httpx2.get(url, headers={"traceparent": UNASKED}).status_code == 200
            assert httpx2.get(url).status_code == 200
            # What the others were answered is kept; this is worked out.
            assert httpx2.get(f"{url}&limit=3", headers={"traceparent": ASKED}).status_code == 200
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(20) == 0
    spans = spans_of(taking)
    (server,) = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, CALLER)
    assert server.name == "GET /api/v1/books"
    statements = [span for span in spans if span.kind == Span.SPAN_KIND_CLIENT]
    assert statements, "the statements of a traced request are traced"
    assert {span.trace_id for span in statements} == {server.trace_id}
    # Opening a connection is a span of its own, with statements in it.
    assert server.span_id in {span.parent_span_id for span in statements}
    assert not any(CANARY.encode() in body for _, body in taking.taken), "what was searched for stays private"


def test_nobody_can_have_everything_traced_by_asking(settings: Settings) -> None:
    with collector() as taking:
        traced = {"otel_exporter_otlp_endpoint": f"http://{taking.address}", "otel_traces_sampler_arg": 0.0}
        tracing = start(settings.model_copy(update=traced))
        assert tracing is not None
        begun = time.monotonic()
        granted = 0
        for _ in range(1_000):
            if under_way := tracing.begin((TRACE, CALLER, True)):
                under_way.end(method="GET", endpoint="/", status=200, request_id="x")
                granted += 1
        seconds = int(time.monotonic() - begun) + 2
        tracing.close()
    assert ASKED_A_SECOND <= granted <= ASKED_A_SECOND * seconds


async def _bare(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})


async def _nothing(_message: Message | None = None) -> Message:
    return {"type": "http.request"}


async def _cost(shell: Shell) -> float:
    """Processor time of a request in microseconds."""
    scope = {"type": "http", "method": "GET", "path": "/x", "raw_path": b"/x", "query_string": b"", "scheme": "http"}
    began = time.process_time()
    for _ in range(REQUESTS):
        headers = [(b"host", b"localhost")]
        await shell({**scope, "headers": headers, "client": ("127.0.0.1", 1)}, _nothing, _nothing)  # type: ignore[arg-type]  # it takes what send is given, too
    return (time.process_time() - began) / REQUESTS * 1e6


@pytest.mark.anyio
async def test_tracing_one_in_a_hundred_costs_little(settings: Settings, backend: str) -> None:
    with collector() as taking:
        on = settings.model_copy(update={"otel_exporter_otlp_endpoint": f"http://{taking.address}"})
        tracing = start(on)
        assert tracing is not None
        shells = [
            Shell(_bare, settings=settings, endpoints=Endpoints(["/x"]), probes=frozenset(), tracing=each)
            for each in (None, tracing)
        ]
        costs = [[await _cost(shell) for shell in shells] for _ in range(ROUNDS)]
        tracing.close()
    without, traced = (sorted(column)[ROUNDS // 2] for column in zip(*costs, strict=True))
    evidence.keep("P14", backend, shell_us=round(without, 1), traced_at_1_percent_us=round(traced, 1))
    assert traced < 2 * without

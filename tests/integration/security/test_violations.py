"""Reports of the pages' policy: every page says where to, few are written down, and nothing that a stranger chose."""

import json
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from app.api import violations
from app.core.config import Settings
from app.core.lanes import REPORT_BYTES
from tests.conftest import Person

pytestmark = pytest.mark.anyio


def said(**fields: str) -> bytes:
    report = {
        "document-uri": "https://library.test/readers/0198?q=secret#part", "violated-directive": "script-src-elem",
        "blocked-uri": "https://evil.test/x.js?secret", "original-policy": "default-src 'none'", "status-code": 200,
    }  # fmt: skip
    return json.dumps({"csp-report": report | {name.replace("_", "-"): text for name, text in fields.items()}}).encode()


async def _send(client: httpx2.AsyncClient, body: bytes) -> tuple[int, list[Any]]:
    with capture_logs() as lines:
        answer = await client.post(violations.PATH, content=body, headers={"Content-Type": "application/csp-report"})
    return answer.status_code, [line for line in lines if line["event"] == "policy_violated"]


async def test_every_page_says_where_violations_are_reported(client: httpx2.AsyncClient, reader: Person) -> None:
    for who, path in ((client, "/"), (client, "/login"), (reader.client, "/me"), (client, "/none"), (client, "/docs")):
        policy = (await who.get(path, headers={"Accept": "text/html"})).headers["Content-Security-Policy"]
        assert f"report-uri {violations.PATH}" in policy, path


async def test_a_violation_is_written_down_without_anything_personal(client: httpx2.AsyncClient) -> None:
    status, lines = await _send(client, said())
    assert status == 204
    told = {name: lines[0][name] for name in ("page", "directive", "blocked", "log_level")}
    assert told == {
        "page": "/readers", "directive": "script-src-elem", "blocked": "https://evil.test", "log_level": "warning",
    }  # fmt: skip
    assert "secret" not in str(lines)
    assert (await _send(client, said(blocked_uri="inline")))[1][0]["blocked"] == "inline"


async def test_whatever_else_is_sent_is_answered_alike_and_not_written_down(client: httpx2.AsyncClient) -> None:
    for body in (
        b"", b"[" * 7_000, b"{}", b'{"csp-report": 1}', b"\xff", said(document_uri="about"),
        said(violated_directive="\r\n2026 refused"), said(blocked_uri="\x1b[31m"), said(document_uri="http://\r\nx"),
    ):  # fmt: skip
        assert await _send(client, body) == (204, []), body


async def test_a_flood_of_reports_is_ten_lines_and_a_large_one_is_refused(
    client: httpx2.AsyncClient, settings: Settings
) -> None:
    assert settings.rate_limit_enabled
    seen = [await _send(client, said()) for _ in range(60)]
    assert {status for status, _ in seen} == {204}
    assert sum(len(lines) for _, lines in seen) == violations.WRITTEN_DOWN.amount
    assert (await _send(client, b" " * (REPORT_BYTES + 1)))[0] == 413

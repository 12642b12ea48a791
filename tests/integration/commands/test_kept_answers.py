"""Kept answers as real servers send them."""

import httpx2

from tests import servers
from tests.integration.commands.command_line import CommandLine


def test_a_kept_answer_is_whole_whatever_server_sends_it_and_wherever_it_was_kept(library: CommandLine) -> None:
    """By uvloop's transports, with the head that was put together before, from this worker's memory and from Redis."""
    with servers.redis() as redis:
        bodies, outputs = set(), ""
        for opened in (library.serving, library.serving, library.under_gunicorn):
            with opened(REDIS_URL=redis.url) as service:
                for _ in range(3):
                    answer = httpx2.get(f"{service.address}/api/v1/books?limit=5", headers={"Connection": "close"})
                    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
                    assert answer.headers["x-frame-options"] == "DENY"
                    held = {"If-None-Match": answer.headers["etag"]}
                    assert httpx2.get(f"{service.address}/api/v1/books?limit=5", headers=held).status_code == 304
                    head = httpx2.head(f"{service.address}/api/v1/books?limit=5")
                    assert (head.content, head.headers["content-length"]) == (b"", str(len(answer.content)))
                    bodies.add(answer.content)
                outputs += service.output()
        assert len(bodies) == 1
        assert "breaker_open" not in outputs

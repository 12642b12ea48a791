"""The lines that a running service logs: ids in each, nothing private, a level that can be switched."""

import json
import signal
import time

import httpx2

from app.core.middleware import ONE_LINE_IN
from tests.integration.commands.command_line import CommandLine, Service

PASSWORD = "canary-7261-canary"
ADDRESS = "anna.reader@library.test"
TRACE = "0af7651916cd43dd8448eb211c80319c"
WORKERS = 2


def lines_of(service: Service) -> list[dict[str, object]]:
    return [json.loads(line) for line in service.output().splitlines()]


def test_lines_carry_ids_and_nothing_private(library: CommandLine) -> None:
    with library.serving(LOG_FORMAT="json", RATE_LIMIT_ENABLED="false", SCHEDULER_ENABLED="false") as service:
        account = {"email": ADDRESS, "password": PASSWORD, "full_name": "Anna"}
        assert service.post("/api/v1/auth/register", account).status_code == 201
        assert not service.can_sign_in(ADDRESS, f"{PASSWORD}!")
        answer = service.post("/api/v1/auth/login", {"email": ADDRESS, "password": PASSWORD}).json()
        token = {"Authorization": f"Bearer {answer['access_token']}"}
        traced = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-00"}
        with httpx2.Client(base_url=service.address, headers=token | traced) as client:
            client.get("/api/v1/books?q=private")
            for _ in range(ONE_LINE_IN):
                client.get("/health")
        lines = lines_of(service)
        sampled = [line for line in lines if line["event"] == "request" and line["level"] == "info"]
        assert len(sampled) == 1
        assert (sampled[0]["endpoint"], sampled[0]["trace_id"]) == ("/health", TRACE)
        assert all(line["request_id"] and line["trace_id"] for line in lines if line["event"] in {"request", "refused"})
        for private in (PASSWORD, ADDRESS, answer["access_token"], answer["refresh_token"], "private"):
            assert private not in service.output()


def test_a_signal_makes_every_worker_say_more_and_another_less(library: CommandLine) -> None:
    with library.serving("--workers", str(WORKERS), LOG_FORMAT="json", SCHEDULER_ENABLED="false") as service:
        deadline = time.monotonic() + 20
        while not any(line["event"] == "serving" for line in lines_of(service)):  # all workers are up
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for count, level in ((1, "DEBUG"), (2, "as set")):
            service.process.send_signal(signal.SIGUSR1)
            while (
                len(switched := [x for x in lines_of(service) if x["event"] == "log_level_switched"]) < count * WORKERS
            ):
                assert time.monotonic() < deadline, service.output()
                time.sleep(0.1)
            assert [line["to"] for line in switched[-WORKERS:]] == [level] * WORKERS

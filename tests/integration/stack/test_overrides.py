"""The files that go over docker-compose.yml: for developing, and with a firewall before the service."""

import shutil
import signal
import time
from email import message_from_bytes
from typing import Any

import httpx2
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from tests.integration.stack.client import Client
from tests.integration.stack.compose import ROOT, services
from tests.integration.stack.running import GATEWAY, HOST, SECOND_CLIENT, Stack

DEV, WAF = "docker-compose.dev.yml", "docker-compose.waf.yml"
WAIT_SECONDS = 60


class Sink:
    """Stands in for the page of mails: takes what comes."""

    def __init__(self) -> None:
        self.subjects: list[str] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802  # their name
        content = envelope.original_content or b""
        self.subjects.append(str(message_from_bytes(content)["Subject"]))
        return "250 OK"


def test_who_develops_gets_his_code_reloaded_and_sees_the_mails(stack: Stack) -> None:
    for folder in ("app", "alembic"):
        shutil.copytree(ROOT / folder, stack.folder / folder, ignore=shutil.ignore_patterns("__pycache__"))
    sink = Sink()
    mail = Controller(sink, hostname=GATEWAY, port=1025)
    mail.start()
    stack.others["mail"] = GATEWAY
    # What `make env ENVIRONMENT=development` writes, but for the folder of the secrets that are there already.
    made = {"ENVIRONMENT": "development", "SMTP_HOST": "mail", "SMTP_PORT": "1025", "SMTP_TLS": "none",
            "EMAIL_FROM": "library@library.test", "REGISTRATION": "verified"}  # fmt: skip
    try:
        api = stack.start("api", "dev", described=services(stack.folder, DEV)["api"], environment=made)
        api.wait_until_healthy()
        (stack.folder / "app" / "main.py").touch()
        deadline = time.monotonic() + WAIT_SECONDS
        while "Reloading" not in api.log.read_text():
            assert time.monotonic() < deadline, api.log.read_text()
            time.sleep(0.2)
        api.wait_until_healthy()
        body = {"email": "new@library.test", "password": "correct horse staple", "full_name": "New"}
        url = f"http://{api.address}:8000/api/v1/auth/register"
        assert httpx2.post(url, json=body, headers={"Host": HOST}, timeout=20).status_code == 202
        assert api.run("library", "job", "run", "send_notices").returncode == 0
        assert sink.subjects
    finally:
        mail.stop()
        stack.end("dev")
        del stack.others["mail"]


def test_a_firewall_before_the_service_stops_attacks_and_nothing_else(stack: Stack) -> None:
    tight = services(stack.folder, WAF)["nginx"]
    stack.end("nginx", signal.SIGQUIT)
    try:
        stack.start("nginx", described=tight).wait_until_healthy()
        with Client(stack, SECOND_CLIENT) as client:
            attack = client.get("/api/v1/books?x=1'%20UNION%20SELECT%20password%20FROM%20users--")
            assert (attack.status_code, attack.json()["code"]) == (403, "request_stopped")
            page = client.get("/?x=<script>alert(1)</script>")
            assert page.status_code == 403
            assert "tell the library" in page.text
            assert client.get("/api/v1/books?q=Sed%20%26%20awk").status_code == 200
            assert client.get("/").status_code == 200
            assert client.post("/api/v1/books", {"title": "SELECT"}).status_code == 401
            # What is large or no text passes it by: the service answers.
            large = client.post("/api/v1/uploads?kind=document", "x" * 3_000_000)
            assert large.status_code == 401
    finally:
        stack.end("nginx", signal.SIGQUIT)
        stack.start("nginx").wait_until_healthy()

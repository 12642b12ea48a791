"""The erased reader: a search of every table, file and log finds no link, also after an older backup was restored."""

import asyncio
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from PIL import Image

from app.core.config import Settings
from tests import evidence
from tests.conftest import PASSWORD, _administer
from tests.integration.commands.command_line import CommandLine, Service
from tests.integration.erasure.traces import copied, traces
from tests.smtp import Mailbox, smtp_server

API = "/api/v1"
EMAIL, NAME = "zerlina.canary@library.test", "Zerlina Quixotova"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with smtp_server() as box:
        yield box


@pytest.fixture
def settings(settings: Settings, mailbox: Mailbox) -> Settings:
    return settings.model_copy(
        update={
            "smtp_host": "127.0.0.1", "smtp_port": mailbox.port, "smtp_tls": "none",
            "email_from": "desk@library.test",
            "scheduler_enabled": False,
        }
    )  # fmt: skip


@contextmanager
def signed_in(service: Service, email: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=service.address + API, timeout=10) as client:
        tokens = client.post("/auth/login", json={"email": email, "password": PASSWORD}).json()
        client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        yield client


def done(answer: httpx2.Response) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


def png() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(data, "PNG")
    return data.getvalue()


def live(service: Service) -> list[str]:
    """A reader does all that leaves something behind; gives what names him, his id last."""
    body = {"email": EMAIL, "password": PASSWORD, "full_name": NAME}
    done(httpx2.post(f"{service.address}{API}/auth/register", json=body))
    with signed_in(service, EMAIL) as reader, signed_in(service, "librarian@library.test") as desk:
        me = done(reader.get("/auth/me"))
        books = [done(desk.post("/books", json={"title": f"Book {number}"}))["id"] for number in range(4)]
        for number, book in enumerate(books[:3]):
            done(
                desk.post(f"/books/{book}/copies", json={"barcode": f"C{number}", "branch": "main", "price_minor": 900})
            )
        done(reader.post("/auth/api-keys", json={"name": f"{NAME}'s script", "scopes": ["account:read"]}))
        done(reader.post("/auth/mfa/totp"))
        done(reader.post("/uploads?kind=document&file_name=Zerlina Quixotova.png", content=png()))
        for book in books[2:]:
            done(reader.post("/bookings", json={"book_id": book}, headers={"Idempotency-Key": uuid4().hex}))
        lend = {"card_number": me["card_number"], "branch": "main"}
        loans = [done(desk.post("/loans", json=lend | {"copy_barcode": barcode})) for barcode in ("C0", "C1")]
        done(desk.post(f"/loans/{loans[1]['id']}/lost", json={"reason": f"{NAME} says so"}))
        block = {"blocked_reason": f"{NAME} moved"}
        changed = desk.patch(
            f"/users/{me['id']}", json=block, headers={"If-Match": "*", "Idempotency-Key": uuid4().hex}
        )
        done(changed)
        done(desk.get("/users", params={"q": EMAIL}))
        done(desk.get(f"/users/{me['id']}/loans"))
        return [EMAIL, NAME, NAME.split()[1], me["card_number"], me["id"]]


def pay(service: Service, reader_id: str) -> None:
    with signed_in(service, "librarian@library.test") as desk:
        owed = done(desk.get(f"/users/{reader_id}/charges"))["balance"]["amount_minor"]
        assert owed > 0
        done(desk.post(f"/users/{reader_id}/payments", json={"amount_minor": owed, "note": f"{NAME} paid"}))


def bring_back(service: Service) -> None:
    with signed_in(service, "librarian@library.test") as desk:
        done(desk.post("/returns", json={"copy_barcode": "C0", "branch": "main"}))


def found(settings: Settings, words: list[str], log: str = "") -> list[str]:
    return asyncio.run(traces(settings, words=words, log=log))


def test_no_table_file_or_log_leads_to_an_erased_reader(settings: Settings, backend: str) -> None:
    library = with_a_librarian(settings)
    with library.serving(LOG_LEVEL="DEBUG") as service:
        words = live(service)
        assert found(settings, words), "nobody lived here"
        with signed_in(service, EMAIL) as reader:
            assert reader.delete("/auth/me").json()["code"] == "loans_open"
            bring_back(service)
            assert reader.delete("/auth/me").json()["code"] == "balance_not_zero"
            pay(service, words[-1])
            done(reader.delete("/auth/me"))
            assert reader.get("/auth/me").status_code == 401
        log = service.output()
        assert found(settings, words, log) == []
    assert found(settings, words, log) == []
    assert len(list((settings.data_dir / "uploads" / "erasures").iterdir())) == 1
    evidence.keep("S10", backend, words=len(words), traces=0)


def test_a_restored_backup_forgets_him_again(settings: Settings, backend: str) -> None:
    library = with_a_librarian(settings)
    with library.serving(LOG_LEVEL="DEBUG") as service:
        words = live(service)
    backup = backed_up(settings)
    with library.serving(LOG_LEVEL="DEBUG") as service:
        bring_back(service)
        pay(service, words[-1])
        with signed_in(service, EMAIL) as reader:
            done(reader.delete("/auth/me"))
    restore(settings, backup)
    assert found(settings, words), "the backup knows him"
    told = library.done("erasure", "replay")
    assert told == "The ledger names 1 erased accounts; 1 of them were here again and are erased.\n"
    assert found(settings, words) == []
    assert "0 of them were here again" in library.done("erasure", "replay")
    assert '"violations": []' in library.done("job", "run", "invariants", "--json")
    evidence.keep("S10", backend, traces_after_restore=0)


def with_a_librarian(settings: Settings) -> CommandLine:
    library = CommandLine.of(settings)
    library.done(
        "user", "create", "--email", "librarian@library.test", "--role", "librarian", "--password", "-", given=PASSWORD
    )
    return library


def backed_up(settings: Settings) -> str:
    """A copy of the database as it is, outside the data folder."""
    if settings.is_embedded:
        path = settings.data_dir.with_suffix(".backup")
        copied(settings.data_dir / "library.db", path)
        return str(path)
    url, name = _address(settings)
    backup = f"backup_{uuid4().hex}"
    asyncio.run(_administer(url, f"CREATE DATABASE {backup} TEMPLATE {name}"))
    return backup


def restore(settings: Settings, backup: str) -> None:
    if settings.is_embedded:
        copied(Path(backup), settings.data_dir / "library.db")
        Path(backup).unlink()
        return
    url, name = _address(settings)
    for statement in (
        f"DROP DATABASE {name} WITH (FORCE)",
        f"CREATE DATABASE {name} TEMPLATE {backup}",
        f"DROP DATABASE {backup} WITH (FORCE)",
    ):
        asyncio.run(_administer(url, statement))


def _address(settings: Settings) -> tuple[str, str]:
    assert settings.database_url
    url, _, name = settings.database_url.get_secret_value().rpartition("/")
    return url, name

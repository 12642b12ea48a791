"""A full disk: writes are refused with 503, nothing is half written, reading goes on, and room mends it at once."""

import resource
from pathlib import Path

import httpx2

from tests.integration.commands.command_line import CommandLine, Service

BOOKS = "/api/v1/books"


def _fill_up(service: Service, folder: Path) -> None:
    """From now on no file of the service may grow by more than a few pages, as on a disk that is full."""
    largest = max(path.stat().st_size for path in folder.glob("library.db*"))
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (largest + 16_384, resource.RLIM_INFINITY))


def _make_room(service: Service) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, unlimited)


def test_a_full_disk_refuses_writes_keeps_reading_and_loses_nothing(bare: CommandLine, tmp_path: Path) -> None:
    bare.done("migrate")
    password = "correct horse battery"
    bare.done("user", "create", "--email", "admin@library.test", "--role", "admin", "--password", password)
    with bare.serving() as service:
        answer = service.post("/api/v1/auth/login", {"email": "admin@library.test", "password": password})
        token = answer.json()["access_token"]

        def add(number: int) -> httpx2.Response:
            body = {"title": f"Book {number}", "summary": "x" * 10_000, "contributors": [{"name": f"Author {number}"}]}
            headers = {"Authorization": f"Bearer {token}"}
            return httpx2.post(f"{service.address}{BOOKS}", json=body, headers=headers, timeout=30)

        answers = [add(number) for number in range(3)]
        _fill_up(service, tmp_path / "data")
        answers += [add(number) for number in range(3, 13)]
        refused = [answer for answer in answers if answer.status_code != 201]
        assert refused, "the disk was never full"
        assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(503, "database_unavailable")}
        assert service.get(BOOKS).status_code == 200
        assert service.get("/health").status_code == 200

        _make_room(service)
        answers.append(add(13))
        assert answers[-1].status_code == 201, "room mends it without a restart"
        listed = service.get(f"{BOOKS}?limit=100").json()["items"]
        kept = [answer.json() for answer in answers if answer.status_code == 201]
        assert sorted(book["id"] for book in listed) == sorted(book["id"] for book in kept)
        for book in listed:
            found = service.get(f"{BOOKS}?author={book['contributors'][0]['name']}").json()["items"]
            assert found == [book], "what is there is there with all that finds it"

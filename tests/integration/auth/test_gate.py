"""How often one may try to sign in, and that nobody can lock somebody else out."""

import httpx2
import pytest

from app.core.middleware import Shell
from tests.conftest import PASSWORD, Person
from tests.integration.auth.conftest import PostBox, sign_in

pytestmark = pytest.mark.anyio

AUTH = "/api/v1/auth"


@pytest.fixture(autouse=True)
def stopped_clock(service: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is forgotten meanwhile, however slow the machine is."""
    monkeypatch.setattr(service.app.state.limits, "_clock", lambda: 1_000.0)  # type: ignore[attr-defined]  # FastAPI


def _from(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def _login(client: httpx2.AsyncClient, email: str, password: str, address: str) -> httpx2.Response:
    return await client.post(f"{AUTH}/login", json={"email": email, "password": password}, headers=_from(address))


async def test_ten_wrong_passwords_from_one_address_are_enough(client: httpx2.AsyncClient, reader: Person) -> None:
    for _ in range(10):
        assert (await _login(client, reader.email, "wrong", "198.51.100.1")).status_code == 401
    refused = await _login(client, reader.email, PASSWORD, "198.51.100.1")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_logins")
    assert refused.headers["Retry-After"] == "30"
    assert (await _login(client, reader.email.upper(), "wrong", "198.51.100.1")).status_code == 429, "same account"
    assert (await _login(client, reader.email, PASSWORD, "203.0.113.1")).status_code == 200, "the owner gets in"


async def test_unknown_accounts_are_counted_like_known_ones(client: httpx2.AsyncClient) -> None:
    statuses = [(await _login(client, "nobody@library.test", "x", "198.51.100.1")).status_code for _ in range(11)]
    assert statuses == [401] * 10 + [429]


async def test_whoever_knows_the_password_is_not_counted(client: httpx2.AsyncClient, reader: Person) -> None:
    for _ in range(60):
        assert (await sign_in(client, reader.email, PASSWORD)).status_code == 200


async def test_one_network_tries_fifty_accounts_at_most(client: httpx2.AsyncClient) -> None:
    statuses = [
        (await _login(client, f"reader{number}@library.test", "x", f"198.51.100.{number}")).status_code
        for number in range(51)
    ]
    assert statuses == [401] * 50 + [429]
    assert (await _login(client, "reader@library.test", "x", "198.51.101.1")).status_code == 401


async def test_a_stolen_token_cannot_guess_the_password(reader: Person) -> None:
    statuses = [
        (await reader.client.post(f"{AUTH}/confirm", json={"password": f"guess {number}"})).status_code
        for number in range(11)
    ]
    assert statuses == [403] * 10 + [429]


async def test_nobody_is_bombed_with_mails(client: httpx2.AsyncClient, reader: Person, post_box: PostBox) -> None:
    for number in range(6):
        answer = await client.post(
            f"{AUTH}/forgot", json={"email": reader.email}, headers=_from(f"198.51.100.{number}")
        )
        assert answer.status_code == 202, "the answer says nothing of it"
    await post_box.letter(reader.email, "A new password")
    assert len(post_box.subjects(reader.email)) <= 3
    statuses = [
        (
            await client.post(f"{AUTH}/forgot", json={"email": f"r{n}@library.test"}, headers=_from("203.0.113.1"))
        ).status_code
        for n in range(21)
    ]
    assert statuses == [202] * 20 + [429]


async def test_taken_addresses_are_tried_five_times_an_hour(client: httpx2.AsyncClient, reader: Person) -> None:
    async def register(email: str) -> int:
        body = {"email": email, "password": "nine tall herons", "full_name": "New"}
        return (await client.post(f"{AUTH}/register", json=body)).status_code

    assert [await register(f"new{number}@library.test") for number in range(8)] == [201] * 8, "a class may register"
    assert [await register(reader.email) for _ in range(6)] == [409] * 5 + [429]

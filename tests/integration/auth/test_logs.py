"""What the logs tell of signing in and of refusals, and what they must not."""

import httpx2
import pytest
from structlog.testing import capture_logs

from tests.conftest import PASSWORD, Person
from tests.integration.auth.conftest import bearer, sign_in

pytestmark = pytest.mark.anyio


async def test_signing_in_is_logged_without_what_was_typed(client: httpx2.AsyncClient, reader: Person) -> None:
    with capture_logs() as lines:
        await sign_in(client, reader.email, "canary-wrong-password")
        tokens = (await sign_in(client, reader.email, PASSWORD)).json()
    judged = [line["is_right"] for line in lines if line["event"] == "password_judged"]
    assert judged == [False, True]
    signed_in = next(line for line in lines if line["event"] == "signed_in")
    assert (signed_in["address"], signed_in["has_second_factor"]) == ("127.0.0.1", False)
    for secret in (reader.email, PASSWORD, "canary", tokens["access_token"], tokens["refresh_token"]):
        assert secret not in str(lines)


async def test_a_refusal_is_logged_with_where_it_came_from_and_why(client: httpx2.AsyncClient, reader: Person) -> None:
    with capture_logs() as lines:
        await client.get("/api/v1/auth/me", headers=bearer("canary.forged.token"))
        await reader.client.get("/api/v1/users")
    refused = [(line["code"], line["address"], line["log_level"]) for line in lines if line["event"] == "refused"]
    assert refused == [("invalid_token", "127.0.0.1", "info"), ("forbidden", "127.0.0.1", "info")]
    assert "canary" not in str(lines)

"""The second factor over HTTP: app, recovery codes, codes by mail, and roles that need one."""

import asyncio
import re
from datetime import UTC, datetime

import httpx2
import pyotp
import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from app.auth.models import Challenge, RecoveryCode, TotpSecret
from app.auth.service import factors
from app.core.config import Settings
from app.core.db import Database
from app.core.middleware import Shell
from app.core.vault import Vault, VaultError
from app.main import create_app
from app.users.models import Role
from tests.conftest import PASSWORD, SECRET, Person, close, sign_in_as
from tests.integration.auth.conftest import PostBox, bearer, sign_in

pytestmark = pytest.mark.anyio

AUTH = "/api/v1/auth"


def code_of(secret: str, *, steps: int = 0) -> str:
    now = int(datetime.now(UTC).timestamp())
    return pyotp.TOTP(secret).generate_otp(now // factors.STEP_SECONDS + steps)


async def enrol(person: Person) -> tuple[str, list[str]]:
    """Adds an authenticator app by the code of the step before, so that the present one is still unused."""
    secret = (await person.client.post(f"{AUTH}/mfa/totp")).json()["secret"]
    confirmed = await person.client.post(f"{AUTH}/mfa/totp/confirm", json={"code": code_of(secret, steps=-1)})
    assert confirmed.status_code == 200, confirmed.text
    return secret, confirmed.json()["recovery_codes"]


async def _begin(client: httpx2.AsyncClient, person: Person) -> str:
    answer = (await sign_in(client, person.email, PASSWORD)).json()
    assert answer["mfa_required"] is True
    assert "access_token" not in answer
    token: str = answer["mfa_token"]
    return token


async def _finish(client: httpx2.AsyncClient, token: str, code: str) -> httpx2.Response:
    return await client.post(f"{AUTH}/mfa/login", json={"mfa_token": token, "code": code})


async def test_with_an_app_the_password_alone_signs_nobody_in(
    client: httpx2.AsyncClient, reader: Person, database: Database
) -> None:
    secret, codes = await enrol(reader)
    assert len(set(codes)) == 10
    token = await _begin(client, reader)
    assert (await _finish(client, token, "000000")).json()["code"] == "wrong_code"
    finished = await _finish(client, token, code_of(secret))
    assert finished.status_code == 200, finished.text
    me = await client.get(f"{AUTH}/me", headers=bearer(finished.json()["access_token"]))
    assert me.json()["email"] == reader.email
    assert (await _finish(client, token, code_of(secret))).status_code == 401, "the sign-in was finished"
    async with database.reading() as session:
        row = (await session.scalars(select(TotpSecret))).one()
    assert secret not in row.encrypted


async def test_a_code_of_the_app_works_once_also_of_two_at_the_same_time(
    client: httpx2.AsyncClient, reader: Person
) -> None:
    secret, _ = await enrol(reader)
    tokens = [await _begin(client, reader) for _ in range(4)]
    code = code_of(secret)
    answers = await asyncio.gather(*(_finish(client, token, code) for token in tokens))
    assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422]
    replayed = await _finish(client, await _begin(client, reader), code)
    assert replayed.json()["code"] == "wrong_code"
    older = await _finish(client, await _begin(client, reader), code_of(secret, steps=-1))
    assert older.json()["code"] == "wrong_code"


async def test_a_recovery_code_works_once(client: httpx2.AsyncClient, reader: Person, database: Database) -> None:
    _, codes = await enrol(reader)
    assert (await _finish(client, await _begin(client, reader), codes[0].upper() + " ")).status_code == 200
    assert (await _finish(client, await _begin(client, reader), codes[0])).status_code == 422
    assert (await reader.client.get(f"{AUTH}/mfa")).json()["recovery_codes_left"] == 9
    async with database.reading() as session:
        kept = {row.digest for row in await session.scalars(select(RecoveryCode))}
    assert not kept & set(codes)
    renewed = (await reader.client.post(f"{AUTH}/mfa/recovery-codes")).json()["recovery_codes"]
    assert not set(renewed) & set(codes)
    assert (await _finish(client, await _begin(client, reader), codes[1])).status_code == 422


async def test_five_wrong_codes_end_the_sign_in(client: httpx2.AsyncClient, reader: Person, service: Shell) -> None:
    secret, _ = await enrol(reader)
    token = await _begin(client, reader)
    statuses = [(await _finish(client, token, f"{number:06}")).status_code for number in range(5)]
    assert statuses == [422] * 5
    assert (await _finish(client, token, code_of(secret))).status_code == 429
    # Not only the limits count, which every process has its own of: the sign-in itself is over.
    service.app.state.limits.is_enabled = False  # type: ignore[attr-defined]  # the FastAPI inside
    assert (await _finish(client, token, code_of(secret))).status_code == 401


async def test_a_new_password_by_mail_does_not_remove_the_second_factor(
    client: httpx2.AsyncClient, reader: Person, post_box: PostBox
) -> None:
    await enrol(reader)
    await client.post(f"{AUTH}/forgot", json={"email": reader.email})
    token = await post_box.token(reader.email, "A new password")
    reset = await client.post(f"{AUTH}/reset", json={"token": token, "password": "seven quiet otters"})
    assert reset.status_code == 204
    assert (await sign_in(client, reader.email, "seven quiet otters")).json()["mfa_required"] is True


async def test_proving_it_again_takes_the_app_too(client: httpx2.AsyncClient, reader: Person) -> None:
    secret, _ = await enrol(reader)
    alone = await reader.client.post(f"{AUTH}/confirm", json={"password": PASSWORD})
    assert alone.json()["code"] == "wrong_code"
    both = await reader.client.post(f"{AUTH}/confirm", json={"password": PASSWORD, "code": code_of(secret)})
    assert both.status_code == 204
    assert (await reader.client.delete(f"{AUTH}/mfa/totp")).status_code == 204
    assert "access_token" in (await sign_in(client, reader.email, PASSWORD)).json()


async def test_a_second_app_cannot_replace_the_first_unseen(reader: Person) -> None:
    await enrol(reader)
    assert (await reader.client.post(f"{AUTH}/mfa/totp")).json()["code"] == "totp_enrolled"


async def test_under_attack_the_owner_gets_in_by_a_mailed_code_and_a_guesser_learns_nothing(
    client: httpx2.AsyncClient, reader: Person, post_box: PostBox, database: Database
) -> None:
    async def attempt(email: str, password: str, address: str) -> httpx2.Response:
        return await client.post(
            f"{AUTH}/login", json={"email": email, "password": password}, headers={"X-Forwarded-For": address}
        )

    for number in range(30):
        assert (await attempt(reader.email, "wrong", f"198.51.{number}.1")).status_code == 401
    answers = [await attempt(reader.email, password, "203.0.113.1") for password in ("wrong", PASSWORD)]
    assert [answer.status_code for answer in answers] == [200, 200]
    bodies = [answer.json() | {"mfa_token": ""} for answer in answers]
    assert bodies[0] == bodies[1]
    assert answers[0].headers.keys() == answers[1].headers.keys()
    letter = await post_box.letter(reader.email, "Your code")
    assert post_box.subjects(reader.email).count("Your code") == 1, "a wrong password sends no mail"
    found = re.search(r"\b\d{8}\b", letter)
    assert found
    assert (await _finish(client, answers[0].json()["mfa_token"], found[0])).json()["code"] == "wrong_code"
    assert (await _finish(client, answers[1].json()["mfa_token"], found[0])).status_code == 200
    async with database.reading() as session:
        assert found[0] not in str([vars(row) for row in await session.scalars(select(Challenge))])


async def test_a_mailed_code_never_stands_for_a_second_factor(
    client: httpx2.AsyncClient, reader: Person, post_box: PostBox
) -> None:
    for number in range(30):
        body, somewhere = {"email": reader.email, "password": "wrong"}, {"X-Forwarded-For": f"198.51.{number}.1"}
        await client.post(f"{AUTH}/login", json=body, headers=somewhere)
    begun = await _begin(client, reader)
    found = re.search(r"\b\d{8}\b", await post_box.letter(reader.email, "Your code"))
    assert found
    secret, _ = await enrol(reader)
    assert (await _finish(client, begun, found[0])).json()["code"] == "wrong_code", "there is a factor by now"
    token = await _begin(client, reader)
    assert (await _finish(client, token, code_of(secret))).status_code == 200
    assert post_box.subjects(reader.email).count("Your code") == 1, "who has a factor needs no mail"


async def test_a_role_that_needs_a_second_factor_can_do_nothing_else_without(
    settings: Settings, database: Database
) -> None:
    shell = create_app(settings.model_copy(update={"mfa_required_roles": ("librarian",)}))
    async with sign_in_as(shell, database, Role.LIBRARIAN, branches=("main",)) as librarian:
        for method, path in (("POST", "/api/v1/books"), ("GET", "/api/v1/users"), ("PATCH", f"{AUTH}/me")):
            refused = await librarian.client.request(method, path, json={"title": "x"})
            assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_required"), path
        assert (await librarian.client.get(f"{AUTH}/me")).status_code == 200
        assert (await librarian.client.get(f"{AUTH}/mfa")).json()["is_required"] is True
        await enrol(librarian)
        assert (await librarian.client.get("/api/v1/users")).status_code == 200
    await close(shell)


async def test_an_expired_sign_in_is_over(client: httpx2.AsyncClient, reader: Person, database: Database) -> None:
    secret, _ = await enrol(reader)
    token = await _begin(client, reader)
    async with database.transaction() as session:
        await session.execute(update(Challenge).values(expires_at=datetime.now(UTC)))
    assert (await _finish(client, token, code_of(secret))).json()["code"] == "invalid_mfa_token"


async def test_the_vault_reads_by_old_keys_and_for_one_purpose_only() -> None:
    def vault(**settings: object) -> Vault:
        return Vault(Settings(_env_file=None, **settings))  # type: ignore[arg-type]  # pydantic checks them

    old = vault(secret_key=SecretStr(SECRET))
    encrypted = old.encrypt("JBSWY3DP", purpose="totp:1")
    rotated = vault(secret_key=SecretStr("9sKd-new-" + SECRET), secret_keys_old=(SecretStr(SECRET),))
    assert rotated.decrypt(encrypted, purpose="totp:1") == "JBSWY3DP"
    own = vault(secret_key=SecretStr(SECRET), encryption_key=SecretStr("Vb3-" + SECRET))
    assert own.decrypt(encrypted, purpose="totp:1") == "JBSWY3DP"
    assert own.encrypt("x", purpose="p") != own.encrypt("x", purpose="p")
    head, *rest, tag = encrypted.split(".")
    for damaged, purpose in (
        (encrypted, "totp:2"),
        (".".join([head, *rest, tag[::-1]]), "totp:1"),
        ("not encrypted", "totp:1"),
        ("", "totp:1"),
    ):
        with pytest.raises(VaultError):
            old.decrypt(damaged, purpose=purpose)
    with pytest.raises(VaultError):
        vault(secret_key=SecretStr("9sKd-new-" + SECRET)).decrypt(encrypted, purpose="totp:1")

"""The carrier and the mailer: encrypted or not at all, patient with servers that aren't."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr, ValidationError

from app.core import mail
from app.core.config import Settings
from app.core.db import Database
from app.core.mail import Carrier, Letter, Mailer, ServerUnavailable, Undelivered
from tests.integration.notifications.outbox import add_notices, add_reader, send, states
from tests.mailserver import mail_server, sending_to, tarpit

pytestmark = pytest.mark.anyio

LETTER = Letter(to="ada@library.test", subject="Hello", text="Hello, Ada.\n")
LOGIN = {"smtp_user": "desk", "smtp_password": SecretStr("canary-smtp-password")}


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A certificate for this machine, which this process trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path, key_path = tmp_path / "certificate.pem", tmp_path / "key.pem"
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path, key_path)
    return context


def message(settings: Settings) -> EmailMessage:
    return mail.compose(settings, LETTER, identity="<1@library.test>", now=datetime.now(UTC))


async def deliver(settings: Settings) -> None:
    async with Carrier(settings) as carrier:
        await carrier.deliver(message(settings))


async def test_a_password_goes_out_only_over_tls_that_is_verified(
    tmp_path: Path, certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def login(_server: object, _session: object, _envelope: object, _mechanism: str, data: object) -> object:
        seen.append(data)
        return AuthResult(success=True)

    from_settings = Settings(_env_file=None, data_dir=tmp_path)
    seen: list[object] = []
    with mail_server(tls=certificate, authenticator=login, auth_required=True, require_starttls=True) as server:
        settings = sending_to(from_settings, server.port, smtp_tls="starttls", **LOGIN)
        await deliver(settings)
        assert server.addresses() == ["ada@library.test"]
        assert len(seen) == 1
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(ServerUnavailable, match="certificate verify failed"):
            await deliver(settings)
        assert len(seen) == 1


async def test_a_server_without_tls_gets_no_letter_when_tls_is_wanted(tmp_path: Path) -> None:
    with mail_server() as server:
        settings = sending_to(Settings(_env_file=None, data_dir=tmp_path), server.port, smtp_tls="starttls")
        with pytest.raises(ServerUnavailable, match="STARTTLS"):
            await deliver(settings)
        assert server.letters == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"smtp_host": "mail.test"}, "EMAIL_FROM must be set"),
        ({"smtp_user": "desk"}, "belong together"),
        ({"smtp_host": "mail.test", "email_from": "a@mail.test", "smtp_tls": "none"} | LOGIN, "readable"),
        ({"email_from": "nobody"}, "should match"),
        ({"email_from": "a@b\r\nBcc: c@d"}, "should match"),
        ({"email_from_name": "Library\r\nBcc: c@d"}, "should match"),
    ],
)
async def test_mail_settings_that_cannot_work_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings(_env_file=None, **changes)  # type: ignore[arg-type]  # whatever the environment may say


async def test_a_tarpit_before_the_greeting_touches_no_notice(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "STEP_TIMEOUT_SECONDS", 0.3)
    await add_notices(database, await add_reader(database), 5)
    async with tarpit() as port:
        stuck = await send(database, sending_to(settings, port))
    assert stuck.trouble is not None
    assert not stuck.counts
    with mail_server() as server:
        assert (await send(database, sending_to(settings, server.port))).counts == {("booking_ready", "sent"): 5}


async def test_a_tarpit_after_the_greeting_ends_the_run_after_three_letters(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "STEP_TIMEOUT_SECONDS", 0.3)
    await add_notices(database, await add_reader(database), 5)
    async with tarpit(b"220 hello", b"250 hello") as port:
        stuck = await send(database, sending_to(settings, port))
    assert stuck.trouble == "the mail server answers no letter"
    assert stuck.counts == {("booking_ready", "delayed"): 3}
    assert await states(database) == {"pending": 5}


async def test_a_hanging_server_holds_a_letter_no_longer_than_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "LETTER_TIMEOUT_SECONDS", 0.5)
    async with tarpit(b"220 hello", b"250 hello") as port:
        with pytest.raises(Undelivered):
            await asyncio.wait_for(deliver(sending_to(Settings(_env_file=None, data_dir=tmp_path), port)), 3)


async def test_the_mailer_sends_after_the_commit_and_never_after_a_rollback(
    settings: Settings, database: Database
) -> None:
    with mail_server() as server:
        mailer = Mailer(sending_to(settings, server.port))
        async with database.transaction() as session:
            await mailer.post(session, LETTER)
            await asyncio.sleep(0.2)
            assert server.letters == []

        async def post_and_fail() -> None:
            async with database.transaction() as session:
                await mailer.post(session, LETTER)
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await post_and_fail()
        await mailer.close()
        assert server.addresses() == ["ada@library.test"]


async def test_the_mailer_tries_again_with_the_same_id(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "PAUSES_SECONDS", (0.1, 0.1, 0.1))
    offered: list[str] = []

    def answer(letter: EmailMessage) -> str:
        offered.append(str(letter["Message-ID"]))
        return "451 4.3.0 later" if len(offered) < 3 else "250 OK"

    with mail_server() as server:
        server.on_letter = answer
        mailer = Mailer(sending_to(settings, server.port))
        async with database.transaction() as session:
            await mailer.post(session, LETTER)
        await mailer.close()
        assert len(server.letters) == 1
    assert len(offered) == 3
    assert len(set(offered)) == 1

"""Every secret of an installation is a canary that sings nowhere: logs, answers, metrics, tables, mails, Redis."""

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pyotp
import pytest

import redis
from app.core.config import Settings
from tests import evidence, servers
from tests.integration.commands.command_line import CommandLine, Service
from tests.integration.erasure.test_erased_reader import found
from tests.smtp import Mailbox, smtp_server

API = "/api/v1"
EMAIL = "canary-bird@library.test"


def canary(kind: str) -> str:
    return f"canary{kind}{secrets.token_hex(20)}"


@dataclass
class Cage:
    """The secrets that the installation was given, those that it made, and the texts in which none may stand."""

    given: dict[str, str]
    made: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def heard(self) -> list[str]:
        everything = self.given | self.made
        return [
            f"{where} tells {name}"
            for where, text in self.texts.items()
            for name, secret in everything.items()
            if secret in text
        ]


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with smtp_server() as box:
        yield box


@pytest.fixture
def cage() -> Cage:
    names = ("SECRET_KEY", "SECRET_KEYS_OLD", "ENCRYPTION_KEY", "METRICS_TOKEN", "SMTP_PASSWORD", "DATABASE", "REDIS")
    return Cage({name: canary(name.replace("_", "")) for name in (*names, "STORAGE")})


@pytest.fixture
def counter(cage: Cage) -> Iterator[servers.Redis]:
    with servers.redis(password=cage.given["REDIS"]) as server:
        yield server


@pytest.fixture
def library(settings: Settings, cage: Cage, counter: servers.Redis, mailbox: Mailbox) -> CommandLine:
    given = cage.given
    library = CommandLine.of(settings)
    changed = {
        **library.settings,
        **{name: given[name] for name in ("SECRET_KEY", "SECRET_KEYS_OLD", "ENCRYPTION_KEY", "METRICS_TOKEN")},
        "REDIS_URL": counter.url,
        "STORAGE_URL": f"s3://reader:{given['STORAGE']}@bucket/files?endpoint=http://127.0.0.1:9",
        "SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(mailbox.port), "SMTP_TLS": "none", "EMAIL_FROM": "desk@library.test",
    }  # fmt: skip
    if settings.database_url:
        changed["DATABASE_URL"] = changed["DATABASE_URL"].replace("postgres@", f"postgres:{given['DATABASE']}@")
    return CommandLine(library.folder, changed)


def live(service: Service, cage: Cage) -> None:
    """Sign in rightly and wrongly, make all that is secret, break what can be broken; keep what was answered."""
    client = httpx2.Client(base_url=service.address + API, timeout=10)
    said = cage.texts

    def ask(name: str, method: str, path: str, **options: Any) -> httpx2.Response:
        answer = client.request(method, path, **options)
        if name:
            said[name] = f"{answer.text} {answer.headers}"
        return answer

    cage.made |= {"password": canary("password"), "wrong password": canary("wrong")}
    account = {"email": EMAIL, "password": cage.made["password"], "full_name": "Canary Bird"}
    ask("registering", "POST", "/auth/register", json=account)
    ask("a wrong password", "POST", "/auth/login", json={"email": EMAIL, "password": cage.made["wrong password"]})
    pair = ask("", "POST", "/auth/login", json={"email": EMAIL, "password": cage.made["password"]}).json()
    client.headers["Authorization"] = f"Bearer {pair['access_token']}"
    totp = ask("", "POST", "/auth/mfa/totp").json()
    codes = ask("", "POST", "/auth/mfa/totp/confirm", json={"code": pyotp.TOTP(totp["secret"]).now()}).json()
    key = ask("", "POST", "/auth/api-keys", json={"name": "k", "scopes": ["account:read"]}).json()["key"]
    ask("", "POST", "/auth/forgot", json={"email": EMAIL})
    cage.made |= {
        "access token": pair["access_token"], "refresh token": pair["refresh_token"], "api key": key,
        "app secret": totp["secret"], "recovery code": codes["recovery_codes"][0], "forged token": canary("forged"),
    }  # fmt: skip
    for name, path in (("me", "/auth/me"), ("sessions", "/auth/sessions"), ("keys", "/auth/api-keys"),
                       ("export", "/auth/me/export"), ("factors", "/auth/mfa")):  # fmt: skip
        ask(name, "GET", path)
    pdf = b"%PDF-1.4\n%%EOF\n"
    ask("an upload that fails", "POST", "/uploads?kind=document", content=pdf)
    refresh = {"refresh_token": pair["refresh_token"], "odd": 1}
    ask("a refused body", "POST", "/auth/refresh", json=refresh | {"refresh_token": 7})
    ask("a broken body", "POST", "/auth/login", content=b'{"password": ' + cage.made["password"].encode())
    client.headers["Authorization"] = f"Bearer {cage.made['forged token']}"
    ask("a forged token", "GET", "/auth/me")
    client.headers["Authorization"] = f"Bearer {key}"
    ask("a narrow key", "GET", "/users")
    client.close()


def test_no_secret_is_told_anywhere(
    library: CommandLine, settings: Settings, cage: Cage, counter: servers.Redis, mailbox: Mailbox, backend: str
) -> None:
    if not settings.database_url:
        del cage.given["DATABASE"]
    said = cage.texts
    with library.serving(LOG_LEVEL="DEBUG", LOG_FORMAT="json") as service:
        live(service, cage)
        for path in ("/metrics", "/openapi.json", "/health/detailed", "/health", "/docs"):
            said[path] = service.get(path).text
        deadline = time.monotonic() + 5
        while not mailbox.of(EMAIL) and time.monotonic() < deadline:
            time.sleep(0.05)
        said["Redis"] = _everything_in(counter)
        said["the log"] = service.output()
    assert len(said["the log"]) > 1_000
    mail = {"SMTP_USER": "desk", "SMTP_PASSWORD": cage.given["SMTP_PASSWORD"]}
    cage.made["another password"] = canary("elsewhere")
    elsewhere = f"postgresql://library:{cage.made['another password']}@127.0.0.1:9/none"
    for name, arguments, changed in (
        ("config show", ("config", "show"), mail),
        ("config show --json", ("config", "show", "--json"), mail),
        ("doctor", ("doctor",), mail),
        ("a wrong database", ("migrate",), {"DATABASE_URL": elsewhere}),
        ("settings that are refused", ("config", "show"), mail | {"SMTP_USER": "", "PORT": "x"}),
        ("a short key", ("config", "show"), {"SECRET_KEYS_OLD": cage.given["SECRET_KEY"] + ",canaryshort"}),
    ):
        told = library.run(*arguments, **changed)
        said[name] = told.stdout + told.stderr
        assert said[name], name
    letters = mailbox.letters
    assert letters
    said["the mails"] = "".join(letter.as_string() for letter in letters)
    assert cage.heard() == []
    assert len(cage.given | cage.made) >= 15
    words = [*cage.given.values(), *cage.made.values()]
    assert found(settings, words) == []
    evidence.keep("S9", backend, secrets=len(words), places=len(said) + 2, told=0)


def _everything_in(server: servers.Redis) -> str:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        keys = list(client.scan_iter("*"))
        assert keys, "nothing was counted there"
        return "\n".join(
            f"{key} {client.dump(key) if client.type(key) != 'string' else client.get(key)}" for key in keys
        )

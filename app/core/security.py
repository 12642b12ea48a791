"""Secrets at work: the signing key, access tokens, password hashes, random tokens and their digests."""

import asyncio
import base64
import hashlib
import json
import os
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, OctKey

from app.core.config import Settings
from app.core.errors import Unauthorized

AUDIENCE: Final = "library-api"
TOKEN_TYPE: Final = "at+jwt"  # noqa: S105  # RFC 9068's word, no secret
CLOCK_LEEWAY_SECONDS: Final = 5
_READABLE: Final = "abcdefghjkmnpqrstuvwxyz23456789"

# OWASP's second choice, 27 ms here; two at a time: sixteen logins at once would otherwise freeze the loop for a second
# or take more than a gigabyte (platform-facts, measured).
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
HASHING_NICENESS: Final = 10


def _step_back() -> None:
    """Let this thread yield the processor to the event loop the moment that has something to do.

    Without it sixteen logins at once made the loop wait for a turn of the scheduler: 8 ms late at p99, 3 ms with it.
    """
    if sys.platform == "linux":  # where a niceness is a thread's own; elsewhere it would be the whole process'
        os.nice(HASHING_NICENESS)


_executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2", initializer=_step_back)
# Of a word that was thrown away. Made anew at each start it took 40 ms of it, and 19 MiB.
_UNKNOWN_ACCOUNT_HASH: Final = (
    "$argon2id$v=19$m=19456,t=2,p=1$s2Ph6f4c3ZXEv0uHzPzu/Q$9mVK674MXZw7RDjzy8ePgeP6Lh8n6eWsLsI6ibx9ru8"
)


class InvalidToken(Unauthorized):
    code, detail = "invalid_token", "The access token is not valid or has expired; sign in again."


async def hash_password(password: str) -> str:
    return await asyncio.get_running_loop().run_in_executor(_executor, _hasher.hash, password)


async def verify_password(password: str, password_hash: str | None) -> bool:
    """Whether the password fits. Without a hash (unknown account) it takes as long and is False."""
    fits = await asyncio.get_running_loop().run_in_executor(
        _executor, _fits, password_hash or _UNKNOWN_ACCOUNT_HASH, password
    )
    return fits and password_hash is not None


def nobodys_hash() -> str:
    """The hash of an account that has no password yet: of random bits that nobody knows, and as slow to try as any."""
    return _UNKNOWN_ACCOUNT_HASH


def needs_rehash(password_hash: str) -> bool:
    """Whether a stored hash was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(password_hash)


def _fits(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def new_password() -> str:
    """A password to be printed and typed: 75 random bits in groups without look-alike letters."""
    letters = "".join(secrets.choice(_READABLE) for _ in range(15))
    return "-".join(letters[start : start + 5] for start in range(0, 15, 5))


def new_token() -> str:
    """256 random bits, in letters that need no escaping."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What is stored of a random token: SHA-256, in hex."""
    return hashlib.sha256(token.encode()).hexdigest()


class TokenSigner:
    """Signs access tokens (JWT, HMAC) with `iss`, `aud`, `kid` and a short life, and reads those of older keys too.

    SECRET_KEYS_OLD keeps tokens valid that the previous keys signed: nobody is signed out when the key is changed.
    """

    def __init__(self, settings: Settings) -> None:
        old = [secret.get_secret_value().encode() for secret in settings.secret_keys_old]
        secrets_by_kid = {_kid(secret): secret for secret in (signing_secret(settings), *old)}
        self._keys = {kid: OctKey.import_key(secret, {"kid": kid}) for kid, secret in secrets_by_kid.items()}
        self._kid = next(iter(self._keys))
        self._algorithm = settings.algorithm
        self._issuer = settings.address
        self._life = timedelta(minutes=settings.access_token_expire_minutes)

    @property
    def life_seconds(self) -> int:
        return int(self._life.total_seconds())

    def sign(self, *, user_id: UUID, session_id: UUID, now: datetime) -> str:
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(session_id),
            "iat": int(now.timestamp()),
            "exp": int((now + self._life).timestamp()),
        }
        return jwt.encode({"alg": self._algorithm, "kid": self._kid, "typ": TOKEN_TYPE}, claims, self._keys[self._kid])

    def read(self, token: str, *, now: datetime) -> tuple[UUID, UUID]:
        """The user's and the session's id.

        Raises:
            InvalidToken: forged, foreign, expired or malformed.
        """
        try:
            key = self._keys[_header(token)["kid"]]
            header, payload = verified(token, key, algorithm=self._algorithm)
            claims: dict[str, Any] = json.loads(payload)
            if header["typ"] != TOKEN_TYPE or claims["iss"] != self._issuer or claims["aud"] != AUDIENCE:
                raise InvalidToken
            if not claims["iat"] - CLOCK_LEEWAY_SECONDS <= now.timestamp() < claims["exp"]:
                raise InvalidToken
            return UUID(claims["sub"]), UUID(claims["sid"])
        except (JoseError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InvalidToken from error


def verified(token: str, key: Key, *, algorithm: str) -> tuple[dict[str, Any], bytes]:
    """Header and payload of a compact JWS whose signature is right, in its one canonical spelling.

    Raises:
        JoseError, ValueError: anything else.
    """
    parts = token.split(".")
    if any(_b64encode(_b64decode(part)) != part for part in parts):
        raise ValueError("not the canonical spelling")
    found = jws.deserialize_compact(token, key, algorithms=[algorithm])
    return found.protected, found.payload


def _header(token: str) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(_b64decode(token.partition(".")[0]))
    return header


def _b64decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _b64encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _kid(secret: bytes) -> str:
    return hashlib.sha256(b"kid:" + secret).hexdigest()[:16]


def signing_secret(settings: Settings) -> bytes:
    """SECRET_KEY, or, with the embedded database, the one kept in DATA_DIR (made at first use, mode 0600)."""
    if settings.secret_key:
        return settings.secret_key.get_secret_value().encode()
    path = settings.data_dir / "secret_key"
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"secret_key.{os.getpid()}")
    if not path.exists():
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(new_token() + new_token())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # of several processes starting at once the first wins, and all read its key
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii").strip().encode()

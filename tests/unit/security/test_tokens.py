"""Access tokens: every Wycheproof vector, one spelling only, and forgeries of our own."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, RSAKey
from pydantic import SecretStr

from app.core.config import Settings
from app.core.security import AUDIENCE, TOKEN_TYPE, InvalidToken, TokenSigner, _kid, verified
from tests.conftest import SECRET

# Their own verdicts contradict each other or RFC 7515 (reliability.md, S5).
FAULTY = {367, 370, 372, 373}
# Examples of RFC 7520 whose key carries the name of another algorithm than the one they use.
MISLABELLED = {346: "PS384", 350: "PS384", 347: "ES512", 351: "ES512"}
KINDS: dict[str, Any] = {"oct": OctKey, "RSA": RSAKey, "EC": ECKey}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def _signer(**settings: Any) -> TokenSigner:
    return TokenSigner(Settings(_env_file=None, **{"secret_key": SecretStr(SECRET)} | settings))


def _is_accepted(key: dict[str, Any], vector: dict[str, Any]) -> bool:
    algorithm = MISLABELLED.get(vector["tcId"], key.get("alg", "RS256"))
    unlabelled = {name: value for name, value in key.items() if name != "alg"}
    try:
        verified(str(vector["jws"]), KINDS[key["kty"]].import_key(unlabelled), algorithm=algorithm)
    except (JoseError, ValueError, KeyError, TypeError):
        return False
    return True


def test_every_wycheproof_vector_is_judged_right(shared: Path) -> None:
    found = json.loads((shared / "data" / "attacks" / "json_web_signature_test.json").read_text(encoding="utf-8"))
    judged, wrong_accepts, wrong_refusals = 0, [], []
    for group in found["testGroups"]:
        key = group.get("public") or group["private"]
        for vector in group["tests"]:
            if vector["tcId"] in FAULTY:
                continue
            judged += 1
            accepted = _is_accepted(key, vector)
            if accepted and vector["result"] != "valid":
                wrong_accepts.append((vector["tcId"], vector["comment"]))
            if not accepted and vector["result"] == "valid":
                wrong_refusals.append((vector["tcId"], vector["comment"]))
    assert wrong_accepts == []
    assert wrong_refusals == []
    assert judged == 397


def test_only_the_canonical_spelling_of_a_token_verifies() -> None:
    signer = _signer()
    token = signer.sign(user_id=uuid4(), session_id=uuid4(), now=NOW)
    signer.read(token, now=NOW)
    spellings = [
        token + "=",
        token + "==",
        " " + token,
        token + "\n",
        token + ".",
        "." + token,
        token.replace(".", ".."),
    ]
    for index, letter in enumerate(token):
        others = [other for other in LETTERS if other != letter][:: 1 + index % 7]
        spellings += [token[:index] + other + token[index + 1 :] for other in others]
    spellings += [token.replace("-", "+").replace("_", "/")] if {"-", "_"} & set(token) else []
    accepted = [spelling for spelling in spellings if _reads(signer, spelling)]
    assert accepted == []


def _reads(signer: TokenSigner, token: str) -> bool:
    try:
        signer.read(token, now=NOW)
    except InvalidToken:
        return False
    return True


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "flaw", ["none", "alg", "kid", "typ", "iss", "aud", "sub", "sid", "exp", "iat", "key", "claims", "crit"]
)
def test_a_forged_token_is_refused(flaw: str) -> None:
    secret = SECRET.encode()
    header: dict[str, Any] = {"alg": "HS256", "kid": _kid(secret), "typ": TOKEN_TYPE}
    claims: dict[str, Any] = {
        "iss": "http://localhost:8000", "aud": AUDIENCE, "sub": str(uuid4()), "sid": str(uuid4()),
        "iat": int(NOW.timestamp()), "exp": int(NOW.timestamp()) + 60,
    }  # fmt: skip
    key = OctKey.import_key(secret)
    assert _reads(_signer(), jwt.encode(header, claims, key)), "without a flaw it is good"
    if flaw == "none":
        token = f"{_part(header | {'alg': 'none'})}.{_part(claims)}."
    elif flaw == "key":
        token = jwt.encode(header, claims, OctKey.import_key(secret + b"x"))
    elif flaw == "alg":
        token = jwt.encode(header | {"alg": "HS512"}, claims, key, algorithms=["HS512"])
    elif flaw == "crit":
        good = jwt.encode(header, claims, key)
        token = ".".join([_part(header | {"crit": ["exp"]}), *good.split(".")[1:]])
    elif flaw in header:
        token = jwt.encode(header | {flaw: "other"}, claims, key)
    elif flaw == "claims":
        token = jwt.encode(header, {}, key)
    else:
        other: Any = {"exp": int(NOW.timestamp()) - 1, "iat": int(NOW.timestamp()) + 60}.get(flaw, "other")
        token = jwt.encode(header, claims | {flaw: other}, key)
    assert not _reads(_signer(), token)


@pytest.mark.parametrize(
    "junk", ["", ".", "..", "...", "a.b.c", "{}", "null", "[" * 10_000, "é.é.é", "\x00", "lib_", "e30.e30.e30"]
)
def test_junk_is_no_token(junk: str) -> None:
    assert not _reads(_signer(), junk)


def test_a_token_lives_as_long_as_the_setting_says() -> None:
    signer = _signer(access_token_expire_minutes=5)
    token = signer.sign(user_id=uuid4(), session_id=uuid4(), now=NOW)
    signer.read(token, now=NOW + timedelta(minutes=4, seconds=59))
    with pytest.raises(InvalidToken):
        signer.read(token, now=NOW + timedelta(minutes=5))
    with pytest.raises(InvalidToken):
        signer.read(token, now=NOW - timedelta(seconds=10))


def test_reading_a_hostile_token_is_quick() -> None:
    signer = _signer()
    started = time.perf_counter()
    for token in ("." * 4_000, "A" * 8_000 + "." + "A" * 8_000 + ".A", _part({"kid": "x" * 8_000}) + ".e30.A"):
        assert not _reads(signer, token)
    assert time.perf_counter() - started < 0.5

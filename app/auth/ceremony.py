"""The ceremonies of passkeys (WebAuthn level 3), judged by the `webauthn` library."""

import json
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import webauthn
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from app.core.schemas import JsonObject


class CeremonyFailed(Exception):
    """The browser's answer does not prove what it should."""


def registration(*, address: str, library: str, user_id: UUID, email: str, known: list[str]) -> tuple[JsonObject, str]:
    """Options for `navigator.credentials.create` and their challenge. The domain is PUBLIC_URL's."""
    options = webauthn.generate_registration_options(
        rp_id=_domain(address),
        rp_name=library,
        user_id=user_id.bytes,
        user_name=email,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=base64url_to_bytes(one)) for one in known],
    )
    return json.loads(webauthn.options_to_json(options)), bytes_to_base64url(options.challenge)


def registered(credential: JsonObject, *, address: str, challenge: str) -> tuple[str, bytes, int]:
    """The new passkey's id, public key and count.

    Raises:
        CeremonyFailed.
    """
    try:
        found = webauthn.verify_registration_response(
            credential=credential,
            expected_challenge=base64url_to_bytes(challenge),
            expected_rp_id=_domain(address),
            expected_origin=address,
            require_user_verification=True,
        )
    except _FAILURES as error:
        raise CeremonyFailed from error
    return bytes_to_base64url(found.credential_id), found.credential_public_key, found.sign_count


def authentication(*, address: str) -> tuple[JsonObject, str]:
    """Options for `navigator.credentials.get` and their challenge; the passkey itself says whose it is."""
    options = webauthn.generate_authentication_options(
        rp_id=_domain(address), user_verification=UserVerificationRequirement.REQUIRED
    )
    return json.loads(webauthn.options_to_json(options)), bytes_to_base64url(options.challenge)


def authenticated(credential: JsonObject, *, address: str, challenge: str, public_key: bytes, sign_count: int) -> int:
    """The passkey's new count; the person was verified by his device.

    Raises:
        CeremonyFailed.
    """
    try:
        found = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=base64url_to_bytes(challenge),
            expected_rp_id=_domain(address),
            expected_origin=address,
            credential_public_key=public_key,
            credential_current_sign_count=sign_count,
            require_user_verification=True,
        )
    except _FAILURES as error:
        raise CeremonyFailed from error
    return found.new_sign_count


# The library lets what its parsers trip over in hostile input through.
_FAILURES: tuple[type[Exception], ...] = (
    WebAuthnException, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError,
)  # fmt: skip


def _domain(address: str) -> str:
    name: Any = urlsplit(address).hostname
    return str(name)

"""The vault: secrets that must be read again, such as those of authenticator apps, encrypted for the database."""

import hashlib
from typing import Final

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from app.core.config import Settings
from app.core.security import signing_secret

_ALGORITHMS: Final = ["dir", "A256GCM"]


class VaultError(Exception):
    """The text was not encrypted for this purpose by any key that we have."""


class Vault:
    """Encrypts by ENCRYPTION_KEY, or SECRET_KEY where it is not set; reads what any known key encrypted.

    The purpose is bound to the text: what was encrypted for one account can't be moved to another.
    """

    def __init__(self, settings: Settings) -> None:
        given = [settings.encryption_key] if settings.encryption_key else []
        secrets = [
            *(secret.get_secret_value().encode() for secret in given),
            signing_secret(settings),
            *(secret.get_secret_value().encode() for secret in settings.secret_keys_old),
        ]
        keys = [OctKey.import_key(hashlib.sha256(b"vault:" + secret).digest()) for secret in secrets]
        self._keys = {key.thumbprint(): key for key in keys}
        self._newest = next(iter(self._keys))

    def encrypt(self, text: str, *, purpose: str) -> str:
        header = {"alg": "dir", "enc": "A256GCM", "kid": self._newest, "sub": purpose}
        return jwe.encrypt_compact(header, text, self._keys[self._newest], registry=_REGISTRY)

    def decrypt(self, encrypted: str, *, purpose: str) -> str:
        """Raises:
        VaultError.
        """
        for key in self._keys.values():
            try:
                found = jwe.decrypt_compact(encrypted, key, registry=_REGISTRY)
            except (JoseError, ValueError):
                continue
            if found.protected.get("sub") == purpose and found.plaintext is not None:
                return found.plaintext.decode()
        raise VaultError


_REGISTRY: Final = jwe.JWERegistry(algorithms=_ALGORITHMS, strict_check_header=False)

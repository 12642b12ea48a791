"""Makes app/auth/common_passwords.bin from a list of passwords, the most common first, one a line.

The committed file is of the 60,000 most common that are long enough for our rule, out of Mark Burnett's ten million
(2015, public domain). It holds the first five bytes of each one's SHA-256, sorted: 300 kB, and one password in
18 million is refused by accident.

    python scripts/make_common_passwords.py LIST
"""

import sys
from pathlib import Path

from app.auth.passwords import DIGEST_BYTES, FILE, prefix
from app.users.schemas import MIN_PASSWORD_CHARACTERS

COUNT = 60_000


def main() -> None:
    found: dict[bytes, None] = {}
    with Path(sys.argv[1]).open(encoding="utf-8", errors="ignore") as lines:
        for line in lines:
            password = line.rstrip("\n")
            if len(password) >= MIN_PASSWORD_CHARACTERS:
                found[prefix(password)] = None
            if len(found) == COUNT:
                break
    FILE.write_bytes(b"".join(sorted(found)))
    print(f"{len(found)} passwords, {len(found) * DIGEST_BYTES} bytes")


main()

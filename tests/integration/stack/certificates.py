"""Certificates as an authority gives them, put in the place of the self-signed ones that `make env` wrote."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.stack.running import HOST, Stack, run

KINDS = {"ecdsa": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "rsa": ["-newkey", "rsa:2048"]}
CONFIG = "[req]\ndistinguished_name = name\n[name]\n"
OF_AUTHORITY = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign", "subjectKeyIdentifier=hash"]
OF_HOST = [
    "basicConstraints=critical,CA:FALSE", f"subjectAltName=DNS:{HOST}", "extendedKeyUsage=serverAuth",
    "authorityKeyIdentifier=keyid",
]  # fmt: skip


@contextmanager
def signed(stack: Stack) -> Iterator[Path]:
    """Both of the proxy's certificates from an authority while the block runs; the path is the authority's own."""
    folder, tls = stack.folder / "authority", stack.folder / "secrets" / "tls"
    folder.mkdir()
    (folder / "req.cnf").write_text(CONFIG)
    authority = folder / "ca.crt"
    _make(folder, "ca", "/CN=authority", OF_AUTHORITY, *KINDS["ecdsa"])
    former = {path: path.read_bytes() for path in tls.glob("*.[ck]*") if path.stem in KINDS}
    for kind, key in KINDS.items():
        issuer = ["-CA", str(authority), "-CAkey", str(folder / "ca.key")]
        _make(folder, kind, f"/CN={HOST}", OF_HOST, *key, *issuer)
    try:
        for path in former:
            path.write_bytes((folder / path.name).read_bytes())
        stack.reload_proxy()
        yield authority
    finally:
        for path, content in former.items():
            path.write_bytes(content)
        stack.reload_proxy()


def _make(folder: Path, name: str, subject: str, extensions: list[str], *options: str) -> None:
    added = [word for extension in extensions for word in ("-addext", extension)]
    run("openssl", "req", "-x509", "-nodes", "-sha256", "-days", "30", "-subj", subject,
        "-config", str(folder / "req.cnf"), *options, *added,
        "-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt"))  # fmt: skip

"""The image, built from the shipped Dockerfile by buildah on a Debian base that stands in for the public one."""

import subprocess
import tempfile
import time
from pathlib import Path

from tests import evidence
from tests.integration.stack.compose import ROOT
from tests.integration.stack.running import run

BASE, IMAGE = "localhost/library-base:stand-in", "localhost/library:test"
PACKAGES = "python3,python3-venv,ca-certificates"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def build() -> None:
    """Build both; layers that are there already are taken again."""
    if subprocess.run(["buildah", "inspect", BASE], check=False, capture_output=True).returncode:
        _make_base()
    began = time.monotonic()
    run("make", "-s", "-C", str(ROOT), "image", "ENGINE=buildah", f"BASE={BASE}", f"TAG={IMAGE}")
    evidence.keep("S8-image", "built", build_seconds=round(time.monotonic() - began, 1))


def _make_base() -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = f"{folder}/base.tar"
        run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "trixie", archive)
        container = run("buildah", "from", "scratch").strip()
        run("buildah", "add", "--quiet", container, archive, "/")
        run("buildah", "add", "--quiet", container, CERTIFICATES, CERTIFICATES)
        run("buildah", "commit", "--quiet", container, BASE)
        run("buildah", "rm", container)


def mounted() -> tuple[str, Path]:
    """A container of the image and the folder of its file system."""
    container = run("buildah", "from", IMAGE).strip()
    return container, Path(run("buildah", "mount", container).strip())


def forget(container: str) -> None:
    run("buildah", "rm", container)

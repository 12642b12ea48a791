"""Faults of disks: the one for uploads full. Those of the database are among its own."""

import asyncio
from collections import Counter

from benchmarks.soaking.world import ROOT
from tests.chaos import inside
from tests.chaos.fault import fault
from tests.chaos.load import Load
from tests.chaos.site import Site
from tests.integration.uploads.samples import PDF

FILLER = "filler"
HEAD, TAIL = PDF[:9], PDF[9:]
UPLOADS = 6


@fault("disk of the uploads full", may_fail="writes", is_quick=True)
async def uploads_full(site: Site, load: Load) -> str:
    """Files are refused and nothing else; with room again they are taken at once, whole or not at all."""
    desk = {"Authorization": f"Bearer {load.people.desk()}"}

    async def upload(number: int) -> int:
        content = HEAD + b"%" + str(number).encode() * 200_000 + b"\n" + TAIL
        answer = await load.town.post(f"{ROOT}/uploads?kind=document", content=content, headers=desk)
        return answer.status_code

    before = await upload(0)
    inside.run("sh", "-c", f"dd if=/dev/zero of={site.uploads / FILLER} bs=64k 2>/dev/null || true")
    refused = Counter([await upload(number) for number in range(1, UPLOADS)])
    await asyncio.sleep(1)
    (site.uploads / FILLER).unlink()
    after = await upload(UPLOADS)
    assert (before, after) == (201, 201), f"with room: {before} before, {after} afterwards"
    assert set(refused) <= {503, 507}, refused
    return f"refused with {dict(refused)}"

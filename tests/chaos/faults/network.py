"""Faults on the way: delay, cuts, trickles, partitions, lost packets, a certificate that has run out."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos import inside
from tests.chaos.fault import fault
from tests.chaos.load import Load
from tests.chaos.site import PORTS, REDIS_PORT, Site

HARM_SECONDS = 4.0
LOST_PERCENT = 5


@fault("database slow: 40 ms more each way", may_fail="all")
async def database_slow(site: Site, _load: Load) -> None:
    site.database_proxy.delay_seconds = 0.04
    await asyncio.sleep(HARM_SECONDS)
    site.database_proxy.heal()


@fault("connections to the database cut in the middle, again and again", may_fail="all", is_quick=True)
async def connections_cut(site: Site, _load: Load) -> str:
    cut = 0
    for _ in range(12):
        cut += site.database_proxy.cut()
        await asyncio.sleep(0.3)
    assert cut, "there were no connections to cut"
    return f"{cut} connections cut"


@fault("database's answers trickle in", may_fail="all", within=2)
async def answers_trickle(site: Site, _load: Load) -> None:
    site.database_proxy.trickle_bytes = 64
    await asyncio.sleep(HARM_SECONDS)
    site.database_proxy.heal()


@fault("database accepts and hangs up", may_fail="all", within=2)
async def database_refuses(site: Site, _load: Load) -> None:
    site.database_proxy.refuses = True
    site.database_proxy.cut()
    await asyncio.sleep(HARM_SECONDS)
    site.database_proxy.heal()


@contextmanager
def filtered(*rules: str) -> Iterator[None]:
    """Packet filters of this run's own network."""
    chain = "type filter hook output priority 0; " + "; ".join(rules) + ";"
    inside.run("nft", f"table ip chaos {{ chain harm {{ {chain} }}; }}")
    try:
        yield
    finally:
        inside.run("nft", "delete table ip chaos")


def cut_off(port: int) -> tuple[str, str]:
    """Whatever goes to this port, or comes from it, is lost without a word."""
    return f"tcp dport {port} drop", f"tcp sport {port} drop"


@fault("partition between service and database", may_fail="all", within=8, is_quick=True)
async def database_partitioned(site: Site, _load: Load) -> None:
    """Afterwards connections go on when their packets are sent again, or are given up."""
    with filtered(*cut_off(site.database_proxy.port)):
        await asyncio.sleep(HARM_SECONDS)


@fault("partition between service and Redis")
async def redis_partitioned(site: Site, _load: Load) -> None:
    with filtered(*cut_off(REDIS_PORT), *cut_off(site.redis_proxy.port)):
        await asyncio.sleep(HARM_SECONDS)


@fault("partition between proxy and one service", may_fail="writes", within=10)
async def service_partitioned(site: Site, _load: Load) -> None:
    """What is under way there is lost to its sender; whatever is new goes to the other one."""
    with filtered(*cut_off(PORTS["api-2"])):
        await asyncio.sleep(HARM_SECONDS)


@fault(f"{LOST_PERCENT} % of all packets lost", may_fail="all", within=8)
async def packets_lost(site: Site, _load: Load) -> None:
    with filtered(f"numgen random mod 100 < {LOST_PERCENT} drop"):
        await asyncio.sleep(2 * HARM_SECONDS)


@fault("proxy's certificate has run out", may_fail="all", within=3)
async def certificate_expired(site: Site, load: Load) -> str:
    """Who checks it stays away; a new one and a reload mend it, and nothing else."""
    tls = site.folder / "nginx" / "tls"
    kept = {path: path.read_bytes() for path in tls.glob("*.crt")}
    for path in kept:
        inside.run(
            "faketime", "2020-01-01", "openssl", "req", "-x509", "-sha256", "-days", "1", "-key",
            str(path.with_suffix(".key")), "-subj", f"/CN={inside.HOST}",
            "-addext", f"subjectAltName=DNS:{inside.HOST}", "-out", str(path),
        )  # fmt: skip
    before = len(load.town.sent)
    site.reload_proxy()
    await asyncio.sleep(HARM_SECONDS)
    refused = [sent for sent in load.town.sent[before:] if sent.has_failed]
    for path, certificate in kept.items():
        path.write_bytes(certificate)
    site.reload_proxy()
    await asyncio.sleep(0.5)
    assert refused, "nobody minded"
    return f"{len(refused)} times refused by whoever checked"

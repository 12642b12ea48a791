"""Faults of clients: slow, too large, and sent again by whoever is in between."""

import asyncio
import ssl
from collections import Counter
from contextlib import suppress
from typing import Final
from uuid import uuid4

import httpx2

from benchmarks.soaking.ledger import Intent
from benchmarks.soaking.world import ROOT
from tests.chaos import inside
from tests.chaos.fault import fault
from tests.chaos.load import Load
from tests.chaos.site import PORTS, PROXY_PORT, USUAL, Site

SLOW: Final = 300
SLOW_SECONDS: Final = 8.0
HUGE: Final = 20
TOO_LARGE: Final = 2 * 2**20
TWINS: Final = 5
INTENTS: Final = 12


@fault(f"{SLOW} clients that send a byte now and then")
async def slow_clients(_site: Site, _load: Load) -> str:
    """The proxy lets them go; nobody else waits for them."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    head = f"POST /api/v1/auth/login HTTP/1.1\r\nHost: {inside.HOST}\r\nContent-Length: 900\r\n".encode()

    async def drip(number: int) -> bool:
        """Whether it was let go."""
        secure = trust if number % 3 == 0 else None
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", PROXY_PORT, ssl=secure, local_addr=(f"127.0.2.{1 + number % 8}", 0)
            )
            try:
                writer.write(head + (b"\r\n{" if number % 2 else b"") if secure else b"\x16\x03")
                async with asyncio.timeout(SLOW_SECONDS):
                    await reader.read()
            except TimeoutError:
                return False
            finally:
                writer.transport.abort()
        return True

    gone = await asyncio.gather(*(drip(number) for number in range(SLOW)))
    assert all(gone), f"{len(gone) - sum(gone)} of {SLOW} were still there after {SLOW_SECONDS:.0f} s"
    return f"all let go within {SLOW_SECONDS:.0f} s"


@fault("bodies that are far too large")
async def huge_bodies(_site: Site, load: Load) -> str:
    """Refused with 413 or a closed connection, by proxy and service alike, and read by neither."""
    answers: Counter[int | str] = Counter()
    desk = {"Authorization": f"Bearer {load.people.desk()}"}

    async def send(address: str, client: httpx2.AsyncClient) -> None:
        try:
            body = b'{"title": "' + b"x" * TOO_LARGE + b'"}'
            answer = await client.post(f"{address}{ROOT}/books", content=body, headers=desk)
        except httpx2.TransportError as error:
            answers[type(error).__name__] += 1
        else:
            answers[answer.status_code] += 1

    trust = httpx2.AsyncClient(verify=False, timeout=20, headers={"Host": inside.HOST})
    async with trust as client:
        addresses = [f"https://{inside.HOST}:{PROXY_PORT}", f"http://127.0.0.1:{PORTS['api-2']}"]
        await asyncio.gather(*(send(address, client) for address in addresses for _ in range(HUGE // 2)))
    assert not [said for said in answers if isinstance(said, int) and said != httpx2.codes.REQUEST_ENTITY_TOO_LARGE]
    return ", ".join(f"{said} {count} times" for said, count in answers.items())


@fault("the same request by several proxies at once", is_quick=True)
async def sent_again(_site: Site, load: Load) -> str:
    """Each intent goes to both services at once, as often as impatient proxies would: one effect, one answer."""
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(timeout=20, limits=limits, headers={"Host": inside.HOST}) as client:
        for number in range(INTENTS):
            book, token = load.people.books[number], list(load.people.readers.values())[number]
            intent = Intent("book", f"{ROOT}/bookings", token, {"book_id": book, "pickup_branch": "main"})
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"twin-{number}-{uuid4().hex}"}

            async def send(name: str, intent: Intent = intent, headers: dict[str, str] = headers) -> httpx2.Response:
                url = f"http://127.0.0.1:{PORTS[name]}{intent.path}"
                while True:
                    answer = await client.post(url, json=intent.body, headers=headers)
                    if "request_in_progress" not in answer.text:
                        return answer
                    await asyncio.sleep(0.1)

            answers = await asyncio.gather(*(send(USUAL[twin % 2]) for twin in range(TWINS)))
            done = [answer for answer in answers if answer.is_success]
            assert len({answer.content for answer in done}) <= 1, "twins got different answers"
            faults = [answer.text for answer in answers if answer.is_server_error]
            assert not faults, faults
            if done:
                load.ledger.acknowledge(intent, headers["Idempotency-Key"], done[0])
    return f"{INTENTS} intents, {TWINS} times each"

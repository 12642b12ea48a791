"""Somebody outside who asks the proxy over TLS, from an address of his own."""

import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpx2

from tests.integration.stack.running import HOST, Stack


class Client:
    def __init__(self, stack: Stack, address: str) -> None:
        proxy = stack.running["nginx"].address
        trust = ssl.create_default_context(cafile=str(stack.folder / "secrets" / "tls" / "ecdsa.crt"))
        trust.load_verify_locations(str(stack.folder / "secrets" / "tls" / "rsa.crt"))
        transport = httpx2.HTTPTransport(verify=trust, local_address=address)
        self._https = httpx2.Client(
            transport=transport, base_url=f"https://{proxy}:8443", headers={"Host": HOST}, timeout=15
        )
        self._http = httpx2.Client(base_url=f"http://{proxy}:8080", headers={"Host": HOST})
        self._extensions = {"sni_hostname": HOST}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._https.close()
        self._http.close()

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self._https.get(path, extensions=self._extensions, **options)

    def post(self, path: str, body: object, **options: Any) -> httpx2.Response:
        return self._https.post(path, json=body, extensions=self._extensions, **options)

    def plain(self, path: str) -> httpx2.Response:
        """Over HTTP, without following a redirect."""
        return self._http.get(path)

    def stream(self, path: str) -> Any:
        return self._https.stream("GET", path, extensions=self._extensions)


@contextmanager
def steady(stack: Stack, address: str, *paths: str, clients: int = 4) -> Iterator[Counter[int | str]]:
    """Readers who go on asking while the block runs; the counter holds what they were answered.

    They ask again what was asked over a kept connection that the proxy let go in that moment, as browsers do (RFC 9112,
    9.3.1); it is counted as `asked again`, and what comes of it as any other answer.
    """
    answers: Counter[int | str] = Counter()
    is_over = threading.Event()

    def read() -> None:
        with Client(stack, address) as client:
            while not is_over.is_set():
                for path in paths:
                    try:
                        answers[_answered(client, path, answers)] += 1
                    except httpx2.HTTPError as error:
                        answers[type(error).__name__] += 1
                is_over.wait(0.3)

    readers = [threading.Thread(target=read) for _ in range(clients)]
    for reader in readers:
        reader.start()
    try:
        yield answers
    finally:
        is_over.set()
        for reader in readers:
            reader.join()


def _answered(client: Client, path: str, answers: Counter[int | str]) -> int:
    try:
        return client.get(path).status_code
    except httpx2.RemoteProtocolError:
        answers["asked again"] += 1
        return client.get(path).status_code

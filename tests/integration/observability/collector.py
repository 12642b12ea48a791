"""A server that takes what is posted to it, as a collector of traces, reports or alerts would."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import brotli


class Collector:
    """What came, in order: the path and the body, unpacked."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.taken: list[tuple[str, bytes]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the standard library's name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                unpack = {"gzip": gzip.decompress, "br": brotli.decompress}.get(
                    self.headers.get("Content-Encoding", "")
                )
                body = unpack(body) if unpack else body
                collector.taken.append((self.path, body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *_: object) -> None:  # noqa: A002  # the standard library's name
                del format

        self.server = ThreadingHTTPServer(address, Handler)
        self.port = self.server.server_port
        self.address = f"127.0.0.1:{self.port}"


@contextmanager
def collector(address: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[Collector]:
    taking = Collector(address)
    thread = threading.Thread(target=taking.server.serve_forever)
    thread.start()
    try:
        yield taking
    finally:
        taking.server.shutdown()
        thread.join()
        taking.server.server_close()

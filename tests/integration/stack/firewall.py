"""The shipped ModSecurity rules in an nginx of their own, whose pages are empty: what is blocked is a 403, or a 400."""

import base64
import http.client
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.stack.compose import ROOT
from tests.servers import free_port

FOLDER = ROOT / "nginx" / "waf" / "modsecurity"
CONFIG = """
load_module modules/ngx_http_modsecurity_module.so;
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors info;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/body; keepalive_requests 1000000; large_client_header_buffers 4 64k;
  proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    modsecurity on; modsecurity_rules_file {rules};
    location / {{ proxy_pass http://unix:{folder}/service; }}
  }}
  server {{ listen unix:{folder}/service; location / {{ return 204; }} }}
}}
"""


@contextmanager
def standing(folder: Path, *, level: int | None = None) -> Iterator[int]:
    """The port of an nginx with the rules; `level` puts one level in the place of those that depend on the address."""
    rules, port = (FOLDER / "rules.conf").read_text(), free_port()
    if level:
        head, _, tail = rules.partition("SecRule REQUEST_FILENAME")
        rules = head.replace("level=1", f"level={level}") + tail.partition("\n\n")[2]
    folder.mkdir()
    (folder / "rules.conf").write_text(rules)
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=port, rules=folder / "rules.conf"))
    command = ["nginx", "-e", str(folder / "errors"), "-p", "/usr/share/nginx", "-c", str(folder / "nginx.conf")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as proxy:
        try:
            deadline = time.monotonic() + 20
            while not _is_open(port):
                assert proxy.poll() is None, (folder / "errors").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield port
        finally:
            proxy.kill()


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def answer(port: int, request: dict[str, Any]) -> int:
    """The status of a recorded request, sent byte by byte as it was; 0 if nothing came back."""
    given = request.get("encoded_request")
    raw = base64.b64decode(given) if given else _written(request)
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.settimeout(3)
        try:
            connection.sendall(raw)
            reply = http.client.HTTPResponse(connection)
            reply.begin()
        except (OSError, http.client.HTTPException):
            return 0
        return reply.status


def _written(request: dict[str, Any]) -> bytes:
    if raw := request.get("raw_request"):
        return str(raw).encode("latin-1", "replace")
    data = request.get("data") or ""
    body = ("\r\n".join(data) if isinstance(data, list) else str(data)).encode("utf-8", "surrogateescape")
    headers = {str(name): str(value) for name, value in (request.get("headers") or {}).items()}
    if not request.get("stop_magic"):
        if body:
            names = {name.lower() for name in headers}
            headers |= {} if "content-type" in names else {"Content-Type": "application/x-www-form-urlencoded"}
            headers |= {} if "content-length" in names else {"Content-Length": str(len(body))}
        headers["Connection"] = "close"
    line = f"{request.get('method') or 'GET'} {request.get('uri') or '/'} {request.get('version') or 'HTTP/1.1'}\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (line + lines + "\r\n").encode("utf-8", "surrogateescape") + body

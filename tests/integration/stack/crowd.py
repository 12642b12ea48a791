"""A crowd outside: many who ask the proxy over TLS at a steady pace (wrk), from as many addresses."""

import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tests.integration.stack.running import BRIDGE, GATEWAY, HOST, NETWORK, Stack, run

CONNECTIONS: Final = 40
PAUSE_MS: Final = 100
ADDRESSES: Final = [f"{NETWORK}.{number}" for number in range(200, 230)]
SCRIPT: Final = """
local threads, number = {}, 0
local paths = {%s}
function setup(thread) table.insert(threads, thread) end
function init() answered, limited, turned_away, failed = 0, 0, 0, 0 end
function delay() return %d end
function request() number = number + 1; return wrk.format("GET", paths[number %% #paths + 1]) end
function response(status, _, body)
  if status == 200 then answered = answered + 1
  elseif status == 429 then limited = limited + 1
  elseif status == 503 and body:find("overloaded") then turned_away = turned_away + 1
  else failed = failed + 1 end
end
function done(summary)
  local sums = {answered = 0, limited = 0, turned_away = 0, failed = 0}
  for _, thread in ipairs(threads) do for name in pairs(sums) do sums[name] = sums[name] + thread:get(name) end end
  local errors = summary.errors
  for name, sum in pairs(sums) do print(name .. "=" .. sum) end
  print("unreached=" .. errors.connect + errors.write + errors.timeout)
  print("let_go=" .. errors.read)
end
"""


@dataclass
class Told:
    """How often the crowd was answered well, told to wait (429), turned away by a full lane (503), failed, not reached.

    `let_go` are kept connections that the proxy closed while nobody asked anything over them, or before it answered: at
    a reload its old workers close theirs, and whoever asked just then asks again.
    """

    answered: int = 0
    limited: int = 0
    turned_away: int = 0
    failed: int = 0
    unreached: int = 0
    let_go: int = 0


@contextmanager
def crowd(stack: Stack, *paths: str) -> Iterator[Told]:
    """They ask while the block runs; afterwards it is known what they were told."""
    proxy = stack.running["nginx"].address
    told = Told()
    with (
        tempfile.NamedTemporaryFile("w", suffix=".lua") as script,
        many_addresses() as addresses,
        _by_turns(proxy, addresses),
    ):
        script.write(SCRIPT % (", ".join(f'"{path}"' for path in paths), PAUSE_MS))
        script.flush()
        options = ["-t1", f"-c{CONNECTIONS}", "-d24h", "--timeout", "15s", "-H", f"Host: {HOST}", "-s", script.name]
        asking = subprocess.Popen(["wrk", *options, f"https://{proxy}:8443/"], stdout=subprocess.PIPE, text=True)
        try:
            yield told
        finally:
            asking.send_signal(signal.SIGINT)
            said, _ = asking.communicate(timeout=60)
        for name, figure in re.findall(r"^(\w+)=(\d+)$", said, re.MULTILINE):
            setattr(told, name, int(figure))


@contextmanager
def many_addresses() -> Iterator[list[str]]:
    """Addresses outside: proxy and service count requests by address, and tell one that asks for all to wait."""
    for address in ADDRESSES:
        run("ip", "address", "add", f"{address}/24", "dev", BRIDGE)
    try:
        yield ADDRESSES
    finally:
        for address in ADDRESSES:
            run("ip", "address", "delete", f"{address}/24", "dev", BRIDGE)


@contextmanager
def _by_turns(proxy: str, addresses: list[str]) -> Iterator[None]:
    """Whoever connects to the proxy from here comes from the next of the addresses."""
    turns = ", ".join(f"{number} : {address}" for number, address in enumerate(addresses))
    rule = f"ip saddr {GATEWAY} ip daddr {proxy} snat to numgen inc mod {len(addresses)} map {{ {turns} }}"
    run("nft", f"table ip crowd {{ chain out {{ type nat hook postrouting priority 100; {rule} ; }} ; }}")
    try:
        yield
    finally:
        run("nft", "delete table ip crowd")

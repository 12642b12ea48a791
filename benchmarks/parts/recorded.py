"""The SQL of one request, as PostgreSQL heard it, made into a script that pgbench runs for other readers and copies."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.stage import Stage
from benchmarks.wrk import found
from tests.servers import postgres_binaries

ENTRY: Final = re.compile(r"^\d{4}-\d\d-\d\d [\d:.]+ UTC \[(\d+)\] (LOG|DETAIL):  (.*)$")
HEARD: Final = re.compile(r"(?:statement|execute [^:]+): (.*)", re.DOTALL)
PARAMETER: Final = re.compile(r"\$(\d+) = (NULL|'(?:[^']|'')*')")
RANDOM_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+00")


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with `$1`, `$2` …, and what they stood for: SQL literals."""

    sql: str
    parameters: tuple[str, ...]


def recorded(stage: Stage, ask: Callable[[], object]) -> list[Statement]:
    """What every connection to the cluster says while `ask` runs."""
    log = stage.cluster.folder / "log"
    stage.administer("ALTER SYSTEM SET log_statement = 'all'")
    _reload(stage)
    began = len(log.read_text())
    ask()
    stage.administer("ALTER SYSTEM RESET log_statement")
    _reload(stage)
    heard = list(statements(log.read_text()[began:]))
    return [statement for statement in heard if "ALTER SYSTEM" not in statement.sql and "pg_" not in statement.sql]


def statements(log: str) -> Iterator[Statement]:
    """The statements of a log, in order."""
    entries: list[tuple[str, str]] = []
    for line in log.splitlines():
        if entry := ENTRY.match(line):
            entries.append((entry[2], entry[3]))
        elif entries:
            kind, told = entries[-1]
            entries[-1] = kind, f"{told} {line.strip()}"
    for place, (kind, told) in enumerate(entries):
        heard = HEARD.match(told) if kind == "LOG" else None
        if heard:
            detail = (
                entries[place + 1][1] if entries[place + 1 : place + 2] and entries[place + 1][0] == "DETAIL" else ""
            )
            yield Statement(heard[1].rstrip("; "), tuple(value for _, value in PARAMETER.findall(detail)))


def script(heard: Sequence[Statement], names: Mapping[str, str]) -> tuple[list[str], int]:
    """The lines for pgbench, and how many random ids they need (`u0`, `u1` …).

    `names` says which values of the recorded request stand for which variables; ids that the service made up
    become random ones, the same in every statement, and instants the time of the transaction.
    """
    made_up: dict[str, str] = {}
    lines = []
    for statement in heard:
        values = [_expression(literal, names, made_up) for literal in statement.parameters]
        sql = re.sub(r"\$(\d+)", lambda place, values=values: values[int(place[1]) - 1], statement.sql)  # type: ignore[misc]  # the loop's own list
        lines.append(f"{sql};")
    return lines, len(made_up)


def _expression(literal: str, names: Mapping[str, str], made_up: dict[str, str]) -> str:
    text = literal[1:-1]
    if literal == "NULL":
        return literal
    if INSTANT.fullmatch(text):
        return ":now"
    if text in names:
        return f":{names[text]}"
    for found_id in RANDOM_ID.findall(text):
        if found_id not in names:
            made_up.setdefault(found_id, f"u{len(made_up)}")
    variables = {value: name for value, name in (*names.items(), *made_up.items()) if len(value) == 36}  # noqa: PLR2004  # a UUID
    if text in variables:
        return f":{variables[text]}"
    for value, name in variables.items():
        text = text.replace(value, f"' || :{name} || '")
    return f"('{text}')" if "||" in text else f"'{text}'"


def pgbench(stage: Stage, database: str, lines: Sequence[str], *, clients: int, each: int) -> float:
    """Runs of the script a second; every client runs it `each` times."""
    file: Path = stage.folder / f"{database}.pgbench"
    file.write_text("\n".join(lines) + "\n")
    command = [
        str(postgres_binaries() / "pgbench"), "-n", "-M", "prepared", "-c", str(clients), "-t", str(each),
        "-h", "127.0.0.1", "-p", str(stage.cluster.port), "-U", "postgres", "-f", str(file), database,
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own command
    if ended.returncode or "ERROR" in ended.stderr:
        raise RuntimeError(f"pgbench failed:\n{ended.stderr[-3000:]}")
    return float(found(r"tps = ([\d.]+)", ended.stdout))


def _reload(stage: Stage) -> None:
    stage.administer("SELECT pg_reload_conf()")
    time.sleep(0.5)

"""Draws a dashboard as Grafana lays it out, from what Prometheus answers to its queries: an SVG without a browser."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from scripts.dashboards import DASHBOARDS, Panel

WIDTH, HEIGHT, GAP, HEAD = 600, 230, 16, 56
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 34, 62
COLUMNS: Final = 2
SHOWN: Final = 6
COLOURS: Final = ("#1f6fb4", "#d9662c", "#2e8b57", "#a03b8c", "#b8860b", "#5b6470")
UNITS: Final[dict[str, Callable[[float], str]]] = {
    "s": lambda v: f"{v * 1e3:.3g} ms" if v < 1 else f"{v:.3g} s",
    "bytes": lambda v: next(
        f"{v / 1024**n:.3g} {u}" for n, u in ((3, "GiB"), (2, "MiB"), (0, "B")) if v >= 1024**n or not n
    ),
    "Bps": lambda v: f"{v / 1024**2:.3g} MiB/s",
    "percentunit": lambda v: f"{v:.1%}" if 0 < v < 0.1 else f"{v:.0%}",
    "percent": lambda v: f"{v:.0f}%",
    "reqps": lambda v: f"{v:.3g}/s",
    "ops": lambda v: f"{v:.3g}/s",
    "d": lambda v: f"{v:.3g} d",
    "short": lambda v: f"{v:,.0f}" if v >= 1000 else f"{v:.3g}",
}


class Line(NamedTuple):
    """A legend and points: seconds since the beginning, figure."""

    legend: str
    points: list[tuple[float, float]]


class Mark(NamedTuple):
    """Something that was done to the service, so many seconds after the beginning."""

    at: float
    what: str


def legend(template: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template).strip()


def drawn(name: str, lines: Callable[[Panel], list[Line]], marks: Sequence[Mark], seconds: float) -> str:
    """The dashboard as SVG; `lines` asks for a panel's."""
    title, panels = DASHBOARDS[name]
    rows = math.ceil(len(panels) / COLUMNS)
    width, height = COLUMNS * (WIDTH + GAP) + GAP, HEAD + rows * (HEIGHT + GAP)
    told = " · ".join(f"{number} {mark.what} ({mark.at:.0f} s)" for number, mark in enumerate(marks, 1))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#f4f5f7"/>',
        _text(GAP, 24, f"Library: {title}", size=17),
        _text(GAP, 44, told, size=11, colour="#5b6470"),
    ]
    for number, panel in enumerate(panels):
        row, column = divmod(number, COLUMNS)
        x, y = GAP + column * (WIDTH + GAP), HEAD + row * (HEIGHT + GAP)
        parts.append(f'<g transform="translate({x} {y})">{_panel(panel, lines(panel), marks, seconds)}</g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, lines: list[Line], marks: Sequence[Mark], seconds: float) -> str:
    top = max((figure for line in lines for _, figure in line.points), default=0) or 1
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(at: float, figure: float) -> tuple[float, float]:
        return LEFT + wide * at / seconds, TOP + high * (1 - figure / top)

    parts = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="4" fill="#fff" stroke="#d8dbe0"/>',
        _text(12, 21, panel.title, size=13),
    ]
    for share in (0, 0.5, 1):
        _, y = place(0, top * share)
        parts.append(f'<path d="M{LEFT} {y:.0f}H{WIDTH - RIGHT}" stroke="#e6e8ec"/>')
        parts.append(_text(LEFT - 6, y + 4, UNITS[panel.unit](top * share), anchor="end", colour="#5b6470"))
    for number, mark in enumerate(marks, 1):
        x, _ = place(mark.at, 0)
        parts.append(f'<path d="M{x:.0f} {TOP}v{high}" stroke="#9aa1ab" stroke-dasharray="3 3"/>')
        parts.append(_text(x, TOP - 2, str(number), size=9, anchor="middle", colour="#5b6470"))
    parts.append(_text(LEFT, TOP + high + 14, "0 s", colour="#5b6470"))
    parts.append(_text(WIDTH - RIGHT, TOP + high + 14, f"{seconds:.0f} s", anchor="end", colour="#5b6470"))
    highest = sorted(lines, key=lambda line: -max((figure for _, figure in line.points), default=0))
    for number, line in enumerate(highest[:SHOWN]):
        points = " ".join("{:.1f},{:.1f}".format(*place(at, figure)) for at, figure in line.points)
        colour = COLOURS[number]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        x, y = LEFT + (number % 3) * (wide / 3), TOP + high + 32 + (number // 3) * 16
        parts.append(f'<rect x="{x:.0f}" y="{y - 8:.0f}" width="9" height="9" fill="{colour}"/>')
        more = f" (+{len(lines) - SHOWN})" if number == SHOWN - 1 and len(lines) > SHOWN else ""
        parts.append(_text(x + 13, y, line.legend[:26] + more))
    return "".join(parts)


def _text(x: float, y: float, text: str, *, size: int = 10, anchor: str = "start", colour: str = "#1c2128") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
    )

"""Bar charts drawn on the server: geometry in attributes, colour by class, text as HTML beside them."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

WIDTH: Final = 600
HEIGHT: Final = 160
GAP: Final = 0.25


def bars(values: Sequence[int], summary: str) -> Markup:
    """Bars from zero; `summary` is what the picture says, for those who don't see it."""
    top = max([*values, 1])
    step = WIDTH / max(len(values), 1)
    drawn = Markup().join(
        Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            index * step + step * GAP / 2, HEIGHT - value / top * HEIGHT, step * (1 - GAP), value / top * HEIGHT
        )
        for index, value in enumerate(values)
    )
    return Markup(
        '<svg viewBox="0 0 {w} {h}" preserveAspectRatio="none" role="img" aria-label="{summary}">{drawn}'
        '<line class="base" x1="0" x2="{w}" y1="{h}" y2="{h}"/></svg>'
    ).format(w=WIDTH, h=HEIGHT, summary=summary, drawn=drawn)

"""Code 128 as an SVG drawing, for cards, slips and labels. Source: ISO/IEC 15417."""

from itertools import pairwise
from typing import Final

from markupsafe import Markup

# Bar and space widths of the symbols 0 to 106, as in the standard's table; the last is the stop.
_TABLE: Final = """
    212222 222122 222221 121223 121322 131222 122213 122312 132212 221213 221312 231212 112232 122132 122231 113222
    123122 123221 223211 221132 221231 213212 223112 312131 311222 321122 321221 312212 322112 322211 212123 212321
    232121 111323 131123 131321 112313 132113 132311 211313 231113 231311 112133 112331 132131 113123 113321 133121
    313121 211331 231131 213113 213311 213131 311123 311321 331121 312113 312311 332111 314111 221411 431111 111224
    111422 121124 121421 141122 141221 112214 112412 122114 122411 142112 142211 241211 221114 413111 241112 134111
    111242 121142 121241 114212 124112 124211 411212 421112 421211 212141 214121 412121 111143 111341 131141 114113
    114311 411113 411311 113141 114131 311141 411131 211412 211214 211232 2331112
"""
_WIDTHS: Final = _TABLE.split()
_START_B, _START_C, _STOP, _TO_B, _MODULO = 104, 105, 106, 100, 103
QUIET: Final = 10


def barcode(text: str) -> Markup:
    """The drawing of a printable ASCII text; its modules scale with the width it is given."""
    symbols = _symbols(text)
    check = (symbols[0] + sum(place * symbol for place, symbol in enumerate(symbols[1:], start=1))) % _MODULO
    widths = [int(width) for symbol in [*symbols, check, _STOP] for width in _WIDTHS[symbol]]
    edges = [QUIET]
    for width in widths:
        edges.append(edges[-1] + width)
    bars = [(left, right - left) for left, right in list(pairwise(edges))[::2]]
    bar = Markup('<rect x="{}" y="0" width="{}" height="40"/>')
    drawn = Markup().join(bar.format(x, width) for x, width in bars)
    return Markup(
        '<svg class="code128" viewBox="0 0 {width} 40" preserveAspectRatio="none" fill="#000"'
        ' shape-rendering="crispEdges" aria-hidden="true">{drawn}</svg>'
    ).format(width=edges[-1] + QUIET, drawn=drawn)


def _symbols(text: str) -> list[int]:
    """Pairs of digits take one symbol each; what else there is, one a character."""
    even = len(text) - len(text) % 2
    if text.isdecimal() and even:
        symbols = [_START_C, *(int(text[at : at + 2]) for at in range(0, even, 2))]
        return symbols if even == len(text) else [*symbols, _TO_B, ord(text[-1]) - 32]
    return [_START_B, *(ord(letter) - 32 for letter in text)]

"""Who answers: the text of nginx/upstream/members.conf."""

from collections.abc import Mapping
from math import gcd
from typing import Final

HEAD: Final = """\
# Who answers, one line a member. The deploy writes this file anew (names, weights, blue or green) and says
# `nginx -s reload`; a name is looked up at that moment, and each of its addresses is a member. max_fails=0: a member
# that refuses is asked again with the next request, so that a restart of all in turn leaves none shut out.
"""


def text(weights: Mapping[str, int]) -> str:
    """One line a service; a weight of 1 is not said, as in the file that is shipped."""
    lines = [
        f"server {service}:8000{f' weight={weight}' if weight != 1 else ''} max_fails=0;\n"
        for service, weight in weights.items()
    ]
    return HEAD + "".join(lines)


def weights(percent: int, *, stable: int, canary: int) -> tuple[int, int]:
    """The weights of each stable and each canary member by which the canary gets `percent` of the requests.

    A weight counts for each address of a name, so how many there are of each matters.
    """
    for_stable, for_canary = (100 - percent) * canary, percent * stable
    common = gcd(for_stable, for_canary)
    return for_stable // common, for_canary // common

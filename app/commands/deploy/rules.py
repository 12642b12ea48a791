"""The rules by which Prometheus judges a canary, on Compose and on Kubernetes alike, and the judge that asks them.

They are asked as they stand here, with the labels that tell the two releases apart in that Prometheus. Nothing has to
be loaded there first, so that no canary is called good because a rule was never read.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from app.commands.deploy.judge import LEAST_BAD, Limits, Verdict
from app.core.errors import Unavailable

# What takes as long as the file or the listener, and what no reader asks for.
LEFT_OUT: Final = ".*stream|.*uploads.*|.*import.*|.*export.*|/metrics|/health.*"
FAILED: Final = 'status=~"5.."'
# As long as Prometheus looks back at the stable release: a few scrapes.
LATELY: Final = "2m"
# Two scrapes that got no answer; a lost one condemns nobody.
SILENT: Final = "40s"
# Ours have a group; what others make of the same Prometheus is theirs. Those of the error budget tell of hours ago, and
# would forbid the release that mends.
PAGES: Final = 'ALERTS{severity="page",alertstate="firing",group!~"|slo"}'
ASK_SECONDS: Final = 10
WHY: Final = {
    "CanaryFailing": "it fails more often",
    "CanarySlow": "it is slower",
    "CanaryDown": "it doesn't answer Prometheus",
    "SomethingPages": "an alert pages",
}


class NotJudged(Unavailable):
    code, detail = "canary_not_judged", "Prometheus at {url} does not say how the canary does: {why}"


@dataclass(frozen=True, slots=True)
class Rules:
    """The expressions about two releases, each told by labels in PromQL's spelling, say `service="api-canary"`."""

    canary: str
    stable: str
    limits: Limits

    def figures(self) -> dict[str, str]:
        """What was seen, one number each.

        A canary's counters began with it, so its totals are all that it ever did; a rate would have to wait for the
        second scrape. The stable release has a past and is looked at in the same minutes.
        """
        answers, failures = _counted(self.canary), _counted(self.canary, FAILED)
        lately, failed_lately = (f"sum(increase({_counted(self.stable, which)}[{LATELY}]))" for which in ("", FAILED))
        slowest_lately = _quantile("0.99", f"increase({_timed(self.stable)}[{LATELY}])")
        return {
            "canary:answers": f"(sum({answers}) or vector(0))",
            "canary:failures": f"(sum({failures}) or vector(0))",
            "canary:p99_seconds": _quantile("0.99", _timed(self.canary)),
            # If nobody asked it, it failed at nothing and took no time.
            "stable:answers": f"({lately} or vector(0))",
            "stable:errors": f"(({failed_lately} / ({lately} > 0)) or vector(0))",
            "stable:p99_seconds": f"(({slowest_lately} >= 0) or vector(0))",
        }

    def bad(self) -> dict[str, str]:
        """The rules by which it goes back at once: none of them may hold."""
        seen, limits = self.figures(), self.limits
        answers, failures = seen["canary:answers"], seen["canary:failures"]
        # If all but a few answers were quick, it isn't slow.
        slow = _quantile(f"scalar(clamp_max(1 - {LEAST_BAD} / {answers}, 0.99))", _timed(self.canary))
        up = f'up{{job="library",{self.canary}}}'
        return {
            "CanaryFailing": f"{failures} >= {LEAST_BAD}"
            f" and {failures} / {answers} > {seen['stable:errors']} + {limits.errors}",
            "CanarySlow": f"{slow} > {limits.p99_seconds} and {slow} > {limits.slower} * {seen['stable:p99_seconds']}",
            "CanaryDown": f"{up} == 0 and max_over_time({up}[{SILENT}]) == 0",
            "SomethingPages": PAGES,
        }

    def unseen(self) -> str:
        """The rule that must not hold in the end."""
        return f"{self.figures()['canary:answers']} < {self.limits.sample}"


def instances(addresses: Iterable[str]) -> str:
    """The label that tells containers from others of the same name: Prometheus asks each by its address."""
    return f'instance=~"(?:{"|".join(sorted(addresses))}):[0-9]+"'


def judge(rules: Rules, url: str, watched_seconds: float) -> Verdict:
    """Bad as soon as one of the rules holds; good only when time and sample are full.

    If Prometheus doesn't answer, nobody knows how the canary does, and that counts against it.
    """
    try:
        return _judged(rules, url, watched_seconds)
    except NotJudged as error:
        return Verdict(is_good=False, why=str(error))


def watch(rules: Rules, url: str, *, pause_seconds: float) -> Verdict:
    """Judge again and again, until there is a verdict."""
    began = time.monotonic()
    while True:
        verdict = judge(rules, url, time.monotonic() - began)
        if verdict.is_good is not None:
            return verdict
        time.sleep(pause_seconds)


def is_quiet(url: str) -> bool:
    """Whether no alert pages: while one does, nothing can be told of a release.

    Raises:
        NotJudged: nobody knows.
    """
    return not _ask(url, PAGES)


def _judged(rules: Rules, url: str, watched_seconds: float) -> Verdict:
    seen = _compared(rules, url)
    for name, rule in rules.bad().items():
        if _ask(url, rule):
            return Verdict(is_good=False, why=f"{WHY[name]} ({seen})")
    if watched_seconds < rules.limits.seconds:
        return Verdict(is_good=None, why=seen)
    if _ask(url, rules.unseen()):
        return Verdict(is_good=False, why=f"too few requests to judge by, {rules.limits.sample} are needed ({seen})")
    return Verdict(is_good=True, why=seen)


def _compared(rules: Rules, url: str) -> str:
    seen = {name: _number(_ask(url, figure)) for name, figure in rules.figures().items()}
    errors = {
        "canary": seen["canary:failures"] / (seen["canary:answers"] or 1), "stable": seen["stable:errors"]
    }  # fmt: skip
    return "; ".join(
        f"{release}: {seen[f'{release}:answers']:.0f} answers, {share:.1%} failed,"
        f" p99 {seen[f'{release}:p99_seconds'] * 1000:.0f} ms"
        for release, share in errors.items()
    )


def _ask(url: str, expression: str) -> list[Any]:
    try:
        answer = httpx2.get(f"{url.rstrip('/')}/api/v1/query", params={"query": expression}, timeout=ASK_SECONDS)
        found: list[Any] = answer.raise_for_status().json()["data"]["result"]
    except (httpx2.HTTPError, ValueError, KeyError) as error:
        raise NotJudged(url=url, why=f"{type(error).__name__}: {error}") from error
    return found


def _number(result: list[Any]) -> float:
    """Of a figure; nothing seen yet is none."""
    number = float(result[0]["value"][1]) if result else 0.0
    return number if math.isfinite(number) else 0.0


def _labels(release: str, more: str = "") -> str:
    return ",".join(filter(None, ('job="library"', release, f'endpoint!~"{LEFT_OUT}"', more)))


def _counted(release: str, more: str = "") -> str:
    return f"http_requests_total{{{_labels(release, more)}}}"


def _timed(release: str) -> str:
    return f"http_request_duration_seconds_bucket{{{_labels(release)}}}"


def _quantile(share: str, buckets: str) -> str:
    return f"histogram_quantile({share}, sum by (le) ({buckets}))"

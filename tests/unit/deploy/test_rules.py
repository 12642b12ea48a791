"""The rules by which Prometheus judges a canary, evaluated by promtool over what it would have scraped every 15 s."""

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from app.commands.deploy.judge import LEAST_BAD, Limits
from app.commands.deploy.rules import Rules, instances

SCRAPE: Final = 15
LIMITS: Final = Limits(sample=100, seconds=60, errors=0.01, p99_seconds=0.5, slower=2)
# How Kubernetes tells the two apart, and how Compose does, where another release has an address that looks alike.
RULES: Final = {
    "services": Rules('service="api-canary"', 'service="api"', LIMITS),
    "addresses": Rules(instances({"10.0.0.9"}), instances({"10.0.0.1", "10.0.0.99"}), LIMITS),
}
LABELS: Final = {
    "canary": 'job="library",service="api-canary",instance="10.0.0.9:8000"',
    "stable": 'job="library",service="api",instance="10.0.0.99:8000"',
}
BOOKS: Final = "/api/v1/books"

Series = list[dict[str, str]]


def answered(release: str, each: int, *, failed: int = 0, slow: int = 0, path: str = BOOKS) -> Series:
    """So many answers between two scrapes, some of them failed, some of more than a second."""
    labels = f'{LABELS[release]},method="GET",endpoint="{path}"'
    counters = {f'status="{status}"': count for status, count in (("200", each - failed), ("500", failed)) if count}
    buckets = {"0.01": each - slow, "0.5": each - slow, "1.0": each - slow, "2.5": each, "+Inf": each}
    return [
        *(line(f"http_requests_total{{{labels},{status}}}", count) for status, count in counters.items()),
        *(
            line(f'http_request_duration_seconds_bucket{{{labels},le="{bound}"}}', count)
            for bound, count in buckets.items()
        ),
    ]


def line(series: str, step: int, values: str = "") -> dict[str, str]:
    return {"series": series, "values": values or f"0+{step}x20"}


def up(values: str) -> Series:
    return [line(f"up{{{LABELS['canary']}}}", 0, values)]


def held(folder: Path, rules: Rules, series: Iterable[dict[str, str]], seconds: int) -> set[str]:
    """The rules that hold after so many seconds, by promtool."""
    asked = {**rules.bad(), "unseen": rules.unseen()}
    test = {
        "interval": f"{SCRAPE}s",
        "input_series": list(series),
        "promql_expr_test": [
            {
                "expr": f"label_replace(count({expr}), 'rule', '{name}', '', '') or vector(0)",
                "eval_time": f"{seconds}s",
                "exp_samples": [],
            }
            for name, expr in asked.items()
        ],
    }
    told = promtool(folder, test)
    return {name for name in asked if f'{{rule="{name}"}}' in told}


def promtool(folder: Path, test: dict[str, Any]) -> str:
    file = folder / "canary.test.json"
    file.write_text(json.dumps({"rule_files": [], "evaluation_interval": f"{SCRAPE}s", "tests": [test]}))
    done = subprocess.run(
        ["promtool", "test", "rules", file],
        env={"PATH": os.environ["PATH"], "TMPDIR": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    # Each rule is told as a deviation from nothing; an expression that can't be read is none.
    assert "parse error" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout + done.stderr


GOOD: Final = [*answered("canary", 100), *answered("stable", 900), *up("1x20")]


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@pytest.mark.parametrize(
    ("series", "seconds", "expected"),
    [
        pytest.param(GOOD, 60, set(), id="good"),
        pytest.param(
            [*answered("canary", 100, failed=10), *answered("stable", 900)], SCRAPE, {"CanaryFailing"}, id="failing"
        ),
        pytest.param(
            [*answered("canary", 100, failed=5), *answered("stable", 900, failed=45)], 60, set(), id="fails as all do"
        ),
        pytest.param(
            [*answered("canary", 100, failed=10), *answered("stable", 900, failed=45)], 60, {"CanaryFailing"},
            id="fails more than all do",
        ),
        pytest.param(
            [*answered("canary", 100, slow=10), *answered("stable", 900)], SCRAPE, {"CanarySlow"}, id="slow"
        ),
        pytest.param(
            [*answered("canary", 100, slow=10), *answered("stable", 900, slow=90)], 60, set(), id="slow as all are"
        ),
        pytest.param(
            answered("canary", 100, failed=LEAST_BAD - 1, slow=LEAST_BAD - 1), SCRAPE, set(), id="unlucky once"
        ),
        pytest.param(answered("canary", 100, failed=10), SCRAPE, {"CanaryFailing"}, id="failing, and it has all"),
        pytest.param(answered("canary", 100), 60, set(), id="good, and it has all"),
        pytest.param(answered("canary", 1), 60, {"unseen"}, id="hardly asked"),
        pytest.param([], 60, {"unseen"}, id="never asked"),
        pytest.param(
            [*GOOD, *answered("canary", 50, failed=50, slow=50, path="/health/ready")], 60, set(), id="probes"
        ),
        pytest.param(
            [*GOOD, *answered("canary", 50, slow=50, path="/api/v1/books/availability/stream")], 60, set(), id="streams"
        ),
        pytest.param([*GOOD[:-1], *up("1x1 0x20")], 75, {"CanaryDown"}, id="down"),
        pytest.param([*GOOD[:-1], *up("1x3 0 1x20")], 60, set(), id="a lost scrape"),
        pytest.param([*GOOD[:-1], *up("0x2 stale")], 45, set(), id="a canary before this one"),
        pytest.param(
            [*GOOD, line('ALERTS{alertname="DatabaseDown",severity="page",alertstate="firing",group="database"}', 0)],
            60, {"SomethingPages"}, id="an alert",
        ),
        pytest.param(
            [
                *GOOD,
                line('ALERTS{alertname="DatabaseDown",severity="page",alertstate="pending",group="database"}', 0),
                line('ALERTS{alertname="BackupOld",severity="ticket",alertstate="firing",group="backup"}', 0),
                line('ALERTS{alertname="TheirsDown",severity="page",alertstate="firing"}', 0),
                line('ALERTS{alertname="ErrorBudgetBurnFast",severity="page",alertstate="firing",group="slo"}', 0),
            ],
            60, set(), id="no alert of ours that pages",
        ),
    ],
)  # fmt: skip
def test_a_bad_canary_is_seen_with_the_first_scrape_that_shows_it_and_a_good_one_stays(
    tmp_path: Path, rules: Rules, series: Series, seconds: int, expected: set[str]
) -> None:
    assert held(tmp_path, rules, series, seconds) == expected


def test_the_figures_are_those_that_were_put_in(tmp_path: Path) -> None:
    """Every one is a number at any time, so that a rule which compares with it never falls silent."""
    series = [*answered("canary", 100, failed=5, slow=50), *answered("stable", 900, failed=9)]
    expected = {
        "canary:answers": 2000, "canary:failures": 100, "stable:answers": 7200, "stable:errors": 0.01,
        "stable:p99_seconds": 0.0099,
    }  # fmt: skip
    figures = RULES["services"].figures()
    for given, told in ((series, expected), ([], dict.fromkeys(expected, 0))):
        asked = [
            {"expr": f"round({figures[name]}, 0.0001)", "eval_time": "5m", "exp_samples": [{"value": value}]}
            for name, value in told.items()
        ]
        said = promtool(tmp_path, {"interval": f"{SCRAPE}s", "input_series": given, "promql_expr_test": asked})
        assert "FAILED" not in said

"""A library's day through the autoscaler: pods and how full they are, with the figures of k8s/base, as a picture.

`make autoscaling-picture` calls it and writes docs/images/autoscaling.svg. No cluster is asked: this is Kubernetes'
documented algorithm. Source: Kubernetes, Horizontal Pod Autoscaling, "Algorithm details" and "Configurable scaling
behavior".
"""

import itertools
import math
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
PICTURE: Final = ROOT / "docs" / "images" / "autoscaling.svg"
SYNC_SECONDS: Final = 15
TOLERANCE: Final = 0.1
# From the scheduler's choice to the first 200 of /health/ready, with the image on the node.
START_SECONDS: Final = 15
DAY_SECONDS: Final = 24 * 3600

# Processor time of a request in ms, measured by `make bench-serving`, and its share of the requests: half are lists of
# the API that are answered from ready bytes, the rest is worked out anew.
COSTS: Final = {
    "a cached list": (0.054, 0.50),
    "an uncached list": (1.5, 0.10),
    "the page of a book": (7.7, 0.15),
    "a search": (33.7, 0.10),
    "the newest books": (13.9, 0.10),
    "a step at the desk": (5.0, 0.05),
}
MEAN_MS: Final = sum(cost * share for cost, share in COSTS.values())


@dataclass(frozen=True)
class Policy:
    """At most so many pods, or so much of those there were, within a period."""

    value: int
    period_seconds: int
    is_percent: bool

    def pods(self, before: int) -> int:
        return math.ceil(before * self.value / 100) if self.is_percent else self.value


@dataclass(frozen=True)
class Autoscaler:
    """What the manifest says of an autoscaler on processor time; cores are of one pod."""

    least: int
    most: int
    target_cores: float
    limit_cores: float
    up_window_seconds: int
    up: tuple[Policy, ...]
    down_window_seconds: int
    down: tuple[Policy, ...]

    @classmethod
    def shipped(cls) -> "Autoscaler":
        """As k8s/base says. Of several policies up the largest counts, down the smallest; so says the manifest."""
        base = ROOT / "k8s" / "base"
        spec = next(yaml.safe_load_all((base / "scaling.yaml").read_text(encoding="utf-8")))["spec"]
        api = list(yaml.safe_load_all((base / "release" / "api.yaml").read_text(encoding="utf-8")))[1]
        resources = api["spec"]["template"]["spec"]["containers"][0]["resources"]
        share = spec["metrics"][0]["resource"]["target"]["averageUtilization"] / 100
        up, down = (spec["behavior"][name] for name in ("scaleUp", "scaleDown"))
        return cls(
            least=spec["minReplicas"],
            most=spec["maxReplicas"],
            target_cores=share * _cores(resources["requests"]["cpu"]),
            limit_cores=_cores(resources["limits"]["cpu"]),
            up_window_seconds=up["stabilizationWindowSeconds"],
            up=tuple(map(_policy, up["policies"])),
            down_window_seconds=down["stabilizationWindowSeconds"],
            down=tuple(map(_policy, down["policies"])),
        )


@dataclass(frozen=True)
class Moment:
    """`saturation` is asked of what ready pods can do: above 1 requests wait or are turned away."""

    seconds: int
    demand_cores: float
    pods: int
    saturation: float


def replay(demand_cores: Sequence[float], scaler: Autoscaler) -> list[Moment]:
    """What the autoscaler makes of the demand, given for each of its looks (every 15 s)."""
    pods, ready_at = scaler.least, [0] * scaler.least
    wished: deque[tuple[int, int]] = deque()
    changes: list[tuple[int, int]] = []
    moments = []
    for tick, demand in enumerate(demand_cores):
        now = tick * SYNC_SECONDS
        ready = max(1, sum(at <= now for at in ready_at))
        usage = min(scaler.limit_cores, demand / ready)
        moments.append(Moment(now, demand, pods, demand / (ready * scaler.limit_cores)))
        wish = _wish(pods, ready, usage, scaler)
        wished.append((now, wish))
        longest = max(scaler.up_window_seconds, scaler.down_window_seconds)
        while wished[0][0] <= now - longest - SYNC_SECONDS:
            wished.popleft()
        after = _limited(pods, _stabilised(pods, now, wished, scaler), now, changes, scaler)
        if after != pods:
            changes.append((now, after - pods))
        ready_at = sorted(ready_at)[:after] + [now + START_SECONDS] * max(0, after - pods)
        pods = after
    return moments


def _wish(pods: int, ready: int, usage: float, scaler: Autoscaler) -> int:
    """How many pods would bring the mean to the target; pods that only start count as idle."""
    ratio = usage * ready / pods / scaler.target_cores
    if abs(ratio - 1) <= TOLERANCE:
        return pods
    return min(scaler.most, max(scaler.least, math.ceil(pods * ratio)))


def _stabilised(pods: int, now: int, wished: Sequence[tuple[int, int]], scaler: Autoscaler) -> int:
    """Up by the smallest wish of its window, down by the largest of its own."""
    up = min(wish for at, wish in wished if at >= now - scaler.up_window_seconds)
    down = max(wish for at, wish in wished if at >= now - scaler.down_window_seconds)
    return up if up > pods else min(pods, down)


def _limited(pods: int, wish: int, now: int, changes: Sequence[tuple[int, int]], scaler: Autoscaler) -> int:
    """The wish, as far as the policies let it go at once."""

    def within(policy: Policy, sign: int) -> int:
        recent = sum(by for at, by in changes if at > now - policy.period_seconds and by * sign > 0)
        return pods - recent + sign * policy.pods(pods - recent)

    if wish > pods:
        return max(pods, min(wish, max(within(policy, 1) for policy in scaler.up)))
    return min(pods, max(wish, *(within(policy, -1) for policy in scaler.down)))


def day() -> list[float]:
    """Cores that a library's Tuesday asks for: two humps, reminders by mail at eight, and a class at half past one."""
    noise = random.Random(11)  # noqa: S311  # the same day each time; guards nothing
    humps = ((11.0, 2.2, 260), (17.0, 1.6, 300), (8.1, 0.15, 220), (13.5, 0.08, 480))
    rates = (
        15 + sum(top * math.exp(-(((hour - at) / width) ** 2)) for at, width, top in humps)
        for hour in (second / 3600 for second in range(0, DAY_SECONDS, SYNC_SECONDS))
    )
    return [max(0.0, rate * noise.gauss(1, 0.12)) * MEAN_MS / 1000 for rate in rates]


def picture() -> str:
    """The day as SVG: demand, pods and saturation, with the shipped windows and without any."""
    shipped = Autoscaler.shipped()
    loose = replace(shipped, down_window_seconds=0, down=(Policy(100, 60, is_percent=True),))
    runs = {"shipped": replay(day(), shipped), "loose": replay(day(), loose)}
    told = {
        name: f"{_changes(run)} changes, at most {max(each.saturation for each in run):.0%} full"
        for name, run in runs.items()
    }
    panels = [
        ("Cores asked for", {"shipped": [each.demand_cores for each in runs["shipped"]]}, 5.0),
        ("Pods", {name: [float(each.pods) for each in run] for name, run in runs.items()}, float(shipped.most)),
        ("How full the ready pods are", {name: [each.saturation for each in run] for name, run in runs.items()}, 2.0),
    ]
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 640" font-family="sans-serif" font-size="13">',
        '<rect width="960" height="640" fill="#fff"/>',
        f'<text x="60" y="24" fill="#1f5f8b">as shipped: {told["shipped"]}</text>',
        f'<text x="500" y="24" fill="#c2571a">without stabilisation: {told["loose"]}</text>',
    ]
    for number, (title, curves, top) in enumerate(panels):
        lines += _panel(title, curves, top, y=60 + number * 195)
    lines += [f'<text x="{60 + hour * 36}" y="628">{hour}:00</text>' for hour in range(0, 24, 3)]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _panel(title: str, curves: dict[str, list[float]], top: float, *, y: int) -> Iterator[str]:
    height, colours = 150, {"loose": "#c2571a", "shipped": "#1f5f8b"}
    yield f'<text x="60" y="{y - 6}" font-weight="bold">{title}</text>'
    for share in (0.0, 0.5, 1.0):
        at = y + height - share * height
        yield f'<path d="M60 {at:.0f}H924" stroke="#ddd"/><text x="20" y="{at + 4:.0f}">{share * top:g}</text>'
    for name in (each for each in colours if each in curves):
        points = " ".join(
            f"{60 + index * 864 / len(curves[name]):.1f},{y + height - min(1.0, value / top) * height:.1f}"
            for index, value in enumerate(curves[name])
            if index % 4 == 0
        )
        yield f'<polyline points="{points}" fill="none" stroke="{colours[name]}" stroke-width="1.3"/>'


def _changes(run: Sequence[Moment]) -> int:
    return sum(before.pods != after.pods for before, after in itertools.pairwise(run))


def _cores(quantity: str) -> float:
    return int(quantity.removesuffix("m")) / 1000 if quantity.endswith("m") else float(quantity)


def _policy(given: dict[str, Any]) -> Policy:
    return Policy(given["value"], given["periodSeconds"], is_percent=given["type"] == "Percent")


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    print(f"wrote {PICTURE.relative_to(ROOT)}")

"""Writes what an overlay of k8s/ can't say by itself, then the whole as build/k8s/OVERLAY.yaml.

`make k8s-render OVERLAY=production DIGEST=sha256:…` calls it. The image's digest, a CronJob for each job of the library
and the alerts of prometheus/alerts.yml become a component in build/k8s/OVERLAY, which the overlay includes.
"""

import copy
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from app.jobs.registry import JOBS, Job
from app.jobs.schedule import Daily

ROOT: Final = Path(__file__).resolve().parents[1]
KUBECTL: Final = ROOT / ".venv-deploy" / "bin" / "kubectl"
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
MINUTES_A_DAY: Final = 24 * 60


def main() -> None:
    """Write the component and the rendered overlay, and say where they are."""
    overlay, digest = sys.argv[1], sys.argv[2]
    if not (ROOT / "k8s" / "overlays" / overlay).is_dir():
        sys.exit(f"There is no overlay {overlay!r} in k8s/overlays.")
    if not DIGEST.fullmatch(digest):
        sys.exit(f"DIGEST must be what the registry calls the image, sha256: and 64 digits in hex, not {digest!r}.")
    generate(overlay, digest)
    rendered = ROOT / "build" / "k8s" / f"{overlay}.yaml"
    rendered.write_text(render(overlay), encoding="utf-8")
    print(f"wrote {rendered.relative_to(ROOT)}; `kubectl apply -k k8s/overlays/{overlay}` installs it")


def generate(overlay: str, digest: str, *, root: Path = ROOT) -> None:
    """Write the component build/k8s/OVERLAY."""
    folder = root / "build" / "k8s" / overlay
    folder.mkdir(parents=True, exist_ok=True)
    is_canary = overlay == "canary"
    rules = yaml.safe_load((ROOT / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    # Beside a canary they are there already: production's.
    files: dict[str, list[dict[str, Any]]] = (
        {} if is_canary else {"alerts.yaml": [_rule(rules)], "jobs.yaml": [cron_job(job) for job in JOBS.values()]}
    )
    for name, documents in files.items():
        (folder / name).write_text(yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")
    renamed = [{"op": "replace", "path": "/metadata/name", "value": f"migrate-{digest.partition(':')[2][:10]}"}]
    component = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "resources": list(files),
        "images": [{"name": "library", "digest": digest}],
        "patches": [
            {
                "target": {"kind": "Job", "name": "migrate"},
                "patch": yaml.safe_dump(renamed),
                "options": {"allowNameChange": True},
            }
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(component, sort_keys=False), encoding="utf-8")


def render(overlay: str, *, root: Path = ROOT) -> str:
    """All documents of the overlay.

    Raises:
        SystemExit: with what kustomize said.
    """
    command: list[str | Path] = [KUBECTL, "kustomize", root / "k8s" / "overlays" / overlay]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def cron_job(job: Job) -> dict[str, Any]:
    """The job as Kubernetes runs it: like the migration's pod, with the service's settings and secrets."""
    release = ROOT / "k8s" / "base" / "release"
    pod = copy.deepcopy(yaml.safe_load((release / "migrate.yaml").read_text())["spec"]["template"])
    api = next(
        part
        for part in yaml.safe_load_all((release / "api.yaml").read_text(encoding="utf-8"))
        if part["kind"] == "Deployment"
    )["spec"]["template"]["spec"]
    (container,), (served,) = pod["spec"]["containers"], api["containers"]
    container |= {"name": "job", "command": ["library", "job", "run", job.name]}
    container |= {key: copy.deepcopy(served[key]) for key in ("envFrom", "env", "volumeMounts")}
    pod["spec"]["volumes"] = copy.deepcopy(api["volumes"])
    pod["metadata"]["labels"]["app.kubernetes.io/name"] = "library"
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": job.name.replace("_", "-"), "labels": {"app.kubernetes.io/name": "library"}},
        "spec": {
            "schedule": cron_line(job),
            "timeZone": _time_zone(),
            # One at a time; a run that was missed is not made up for, the next one does its work.
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 60,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 2,
            "jobTemplate": {
                "spec": {
                    "backoffLimit": 0,
                    "activeDeadlineSeconds": job.max_seconds + 60,
                    "ttlSecondsAfterFinished": 3_600,
                    "template": pod,
                }
            },
        },
    }


def cron_line(job: Job) -> str:
    """When it runs, in cron's five fields. Nothing runs more often than each minute there.

    Raises:
        ValueError: for a period that five fields can't say.
    """
    if isinstance(job.schedule, Daily):
        return f"{job.schedule.at.minute} {job.schedule.at.hour} * * *"
    minutes = max(1, job.schedule.period_seconds // 60)
    if MINUTES_A_DAY % minutes or (minutes > 60 and minutes % 60):  # noqa: PLR2004  # minutes of an hour
        raise ValueError(f"{job.name}: cron has no line for every {minutes} minutes")
    if minutes >= 60:  # noqa: PLR2004  # the same
        return f"0 */{minutes // 60} * * *" if minutes > 60 else "0 * * * *"  # noqa: PLR2004  # the same
    return f"*/{minutes} * * * *" if minutes > 1 else "* * * * *"


def _rule(rules: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "library", "labels": {"app.kubernetes.io/name": "library"}},
        "spec": rules,
    }


def _time_zone() -> str:
    settings = (ROOT / "k8s" / "base" / "release" / "settings.env").read_text(encoding="utf-8")
    return dict(line.split("=", 1) for line in settings.splitlines() if "=" in line)["TIMEZONE"]


if __name__ == "__main__":
    main()

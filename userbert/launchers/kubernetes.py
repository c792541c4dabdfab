"""Pre-training as a Kubernetes Job: its manifest, and the following of it by kubectl.

The Job's name is a hash of all that it does, so a task that is tried again while its Job still runs
follows that Job instead of starting a second one.
"""

import hashlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from jinja2 import Environment, StrictUndefined

from userbert.launchers.settings import (
    PodSettings,
    TrainingFailed,
    TrainingSettings,
    training_command,
)

_RENDEZVOUS_PORT = 29400  # where the processes of several pods find each other
_POLL_SECONDS = 5
_TEMPLATE = Path(__file__).with_name("job.yaml.j2")
_Manifest = dict[str, Any]


def job_manifest(settings: TrainingSettings, flags: Sequence[str]) -> _Manifest:
    """A List of all that `kubectl apply` needs: the Job and, for several pods, their Service."""
    unnamed = _filled_in(settings, flags, "NAME")
    pod = unnamed["items"][-1]["spec"]["template"]["spec"]
    content = json.dumps([pod, settings.kubernetes.pods], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:10]
    return _filled_in(settings, flags, f"userbert-pretrain-{digest}")


def job_name(manifest: _Manifest) -> str:
    return str(manifest["items"][-1]["metadata"]["name"])


def _filled_in(settings: TrainingSettings, flags: Sequence[str], name: str) -> _Manifest:
    pods = settings.kubernetes
    environment = Environment(undefined=StrictUndefined, trim_blocks=True)  # nosec B701: YAML
    text = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        name=name,
        settings=pods,
        port=_RENDEZVOUS_PORT,
        command=training_command(settings.processes, _rendezvous(pods.pods, name)),
        flags=list(flags),
    )
    return dict(yaml.safe_load(text))


def _rendezvous(num_pods: int, name: str) -> list[str]:
    if num_pods == 1:
        return []
    return [
        f"--nnodes={num_pods}",
        f"--rdzv-id={name}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={name}-0.{name}:{_RENDEZVOUS_PORT}",
    ]


def train_in_pods(settings: TrainingSettings, flags: Sequence[str]) -> None:
    """Apply the Job, show the log of its first pod, and end as its training ended.

    A SIGTERM deletes the Job: its pods get SIGTERM and write a checkpoint.
    """
    manifest = job_manifest(settings, flags)
    job = _Job(settings.kubernetes, job_name(manifest))
    if job.condition():
        job.delete()  # it has finished, well or not: the task asks for another run
    signal.signal(signal.SIGTERM, _raise_stopped)
    try:
        job.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
        job.follow()
    except (KeyboardInterrupt, TrainingFailed):
        if not job.condition():
            job.delete()
        raise


def _raise_stopped(number: int, frame: object) -> None:
    raise TrainingFailed(
        "stopped: the Job is deleted, and its pods write a checkpoint; the same command goes on "
        "from there",
        128 + number,
    )


class _Job:
    """A Job of the cluster that kubectl's current context names."""

    def __init__(self, settings: PodSettings, name: str) -> None:
        self.settings, self.name = settings, name
        if shutil.which("kubectl") is None:
            raise TrainingFailed(
                "the launcher kubernetes needs kubectl on the PATH, and a context (or a service "
                "account) that may create, read and delete Jobs, Services and pods' logs in "
                f"namespace {settings.namespace}; --render prints what would be applied",
                2,
            )

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        command = ["kubectl", f"--namespace={self.settings.namespace}", *words]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise TrainingFailed(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def _found(self, *words: str) -> _Manifest:
        text = self.kubectl("get", *words, "--ignore-not-found", "--output=json")
        return dict(json.loads(text or "{}"))

    def condition(self) -> str:
        """Complete or Failed; empty while it runs, or where there is none."""
        conditions = self._found("job", self.name).get("status", {}).get("conditions", [])
        over = [each["type"] for each in conditions if each["status"] == "True"]
        return next((each for each in over if each in ("Complete", "Failed")), "")

    def delete(self) -> None:
        with suppress(TrainingFailed):
            self.kubectl("delete", "job,service", self.name, "--ignore-not-found", "--wait=true")

    def follow(self) -> None:
        """The first pod's log as it comes, then how the training ended."""
        self._wait_for_start()
        shown = ["kubectl", f"--namespace={self.settings.namespace}", "logs", "--follow"]
        first = f"training={self.name},batch.kubernetes.io/job-completion-index=0"
        subprocess.run([*shown, f"--selector={first}", "--tail=-1"], check=False)
        while not (condition := self.condition()):  # the pod ended, or the connection was cut
            time.sleep(_POLL_SECONDS)
            subprocess.run([*shown, f"--selector={first}", "--since=10s"], check=False)
        if condition == "Failed":
            raise TrainingFailed(f"the Job {self.name} failed; its log says why", self.exit_code())

    def _wait_for_start(self) -> None:
        end = time.monotonic() + 60 * self.settings.start_minutes
        while self._waiting() and not self.condition():
            if time.monotonic() > end:
                raise TrainingFailed(
                    f"after {self.settings.start_minutes} minutes {self.name} has no running pod: "
                    f"`kubectl --namespace={self.settings.namespace} describe job {self.name}` "
                    "and its pods' events say what they wait for"
                )
            time.sleep(_POLL_SECONDS)

    def _pods(self) -> list[_Manifest]:
        return list(self._found("pods", f"--selector=training={self.name}").get("items", []))

    def _waiting(self) -> bool:
        phases = [pod["status"].get("phase") for pod in self._pods()]
        return not phases or "Pending" in phases

    def exit_code(self) -> int:
        """The highest of the pods': 2, 3 and 4 say that another try changes nothing."""
        ended = [
            status["state"]["terminated"]["exitCode"]
            for pod in self._pods()
            for status in pod["status"].get("containerStatuses", [])
            if "terminated" in status["state"]
        ]
        return max(ended, default=1) or 1

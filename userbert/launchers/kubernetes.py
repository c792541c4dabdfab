"""Pre-training as a Kubernetes Job: its spec, and the following of it by kubectl.

The Job's name is a hash of all that it does, so a task that is tried again while its Job still runs
goes on following that one instead of starting a second.
"""

import hashlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from userbert.launchers.settings import PodSettings, TrainingFailed, TrainingPlace, training_command

PORT = 29400  # where the processes of several pods find each other
POLL = 5  # seconds
Spec = dict[str, Any]


def rendered(place: TrainingPlace, flags: Sequence[str]) -> Spec:
    """A List of all that `kubectl apply` needs: the Job and, for several pods, their Service."""
    told = json.dumps([_pod(place, flags, "NAME"), place.kubernetes.pods], sort_keys=True)
    name = f"userbert-pretrain-{hashlib.sha256(told.encode()).hexdigest()[:10]}"
    items = [_job(place, flags, name)]
    if place.kubernetes.pods > 1:
        items.insert(0, _service(place.kubernetes, name))
    return {"apiVersion": "v1", "kind": "List", "items": items}


def name_of(spec: Spec) -> str:
    return str(spec["items"][-1]["metadata"]["name"])


def _job(place: TrainingPlace, flags: Sequence[str], name: str) -> Spec:
    """Indexed, so that each pod has a name that the others can know: NAME-0, NAME-1, ..."""
    pods = place.kubernetes.pods
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(place.kubernetes, name),
        "spec": {
            "backoffLimit": 0,  # trying again is Airflow's: it knows which failures are final
            "ttlSecondsAfterFinished": 86_400,
            "completionMode": "Indexed",
            "completions": pods,
            "parallelism": pods,
            "template": {
                "metadata": {"labels": {"app": "userbert", "training": name}},
                "spec": _pod(place, flags, name),
            },
        },
    }


def _metadata(settings: PodSettings, name: str) -> Spec:
    return {"name": name, "namespace": settings.namespace, "labels": {"app": "userbert"}}


def _service(settings: PodSettings, name: str) -> Spec:
    """Without an address of its own: it gives the pods their names."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(settings, name),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,  # they look for each other before they are ready
            "selector": {"training": name},
            "ports": [{"name": "rendezvous", "port": PORT}],
        },
    }


def _pod(place: TrainingPlace, flags: Sequence[str], name: str) -> Spec:
    settings = place.kubernetes
    spec: Spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": settings.stop_seconds,
        "subdomain": name,
        "containers": [_container(place, flags, name)],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": settings.data_claim}},
            {
                "name": "shared-memory",
                "emptyDir": {"medium": "Memory", "sizeLimit": settings.shared_memory},
            },
        ],
    }
    if settings.service_account:
        spec["serviceAccountName"] = settings.service_account
    if settings.node_selector:
        spec["nodeSelector"] = dict(settings.node_selector)
    if settings.tolerations:
        spec["tolerations"] = [dict(each) for each in settings.tolerations]
    return spec


def _container(place: TrainingPlace, flags: Sequence[str], name: str) -> Spec:
    settings = place.kubernetes
    resources = {"cpu": settings.cpu, "memory": settings.memory}
    if settings.gpus:
        resources[settings.gpu_resource] = str(settings.gpus)
    environment = {"USERBERT_DATA": settings.data_path, "USERBERT_LAKE": settings.lake}
    container: Spec = {
        "name": "pretrain",
        "image": settings.image,
        "command": training_command(place.processes, _rendezvous(settings.pods, name)),
        "args": list(flags),
        "env": [{"name": key, "value": value} for key, value in environment.items() if value],
        "resources": {"requests": dict(resources), "limits": dict(resources)},
        "volumeMounts": [
            {"name": "data", "mountPath": settings.data_path},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
        ],
    }
    if settings.secret:
        container["envFrom"] = [{"secretRef": {"name": settings.secret}}]
    return container


def _rendezvous(pods: int, name: str) -> list[str]:
    if pods == 1:
        return []
    return [
        f"--nnodes={pods}",
        f"--rdzv-id={name}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={name}-0.{name}:{PORT}",
    ]


def run(place: TrainingPlace, flags: Sequence[str]) -> None:
    """Apply the Job, show the log of its first pod, and end as its training ended.

    A SIGTERM deletes the Job: its pods get SIGTERM and write a checkpoint.
    """
    spec = rendered(place, flags)
    job = Job(place.kubernetes, name_of(spec))
    if job.condition():
        job.delete()  # it finished, well or not: what the task asks for now is another run
    signal.signal(signal.SIGTERM, _stopped)
    try:
        job.kubectl("apply", "-f", "-", given=json.dumps(spec))
        job.follow()
    except (KeyboardInterrupt, TrainingFailed):
        if not job.condition():
            job.delete()
        raise


def _stopped(number: int, frame: object) -> None:
    raise TrainingFailed(
        "stopped: the Job is deleted, and its pods write a checkpoint; the same command goes on "
        "from there",
        128 + number,
    )


class Job:
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

    def kubectl(self, *words: str, given: str | None = None) -> str:
        command = ["kubectl", f"--namespace={self.settings.namespace}", *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        if done.returncode:
            raise TrainingFailed(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def _found(self, *words: str) -> Spec:
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
            time.sleep(POLL)
            subprocess.run([*shown, f"--selector={first}", "--since=10s"], check=False)
        if condition == "Failed":
            raise TrainingFailed(f"the Job {self.name} failed; its log tells why", self.exit_code())

    def _wait_for_start(self) -> None:
        end = time.monotonic() + 60 * self.settings.start_minutes
        while self._waiting() and not self.condition():
            if time.monotonic() > end:
                raise TrainingFailed(
                    f"after {self.settings.start_minutes} minutes {self.name} has no running pod: "
                    f"`kubectl --namespace={self.settings.namespace} describe job {self.name}` "
                    "and its pods' events tell what they wait for"
                )
            time.sleep(POLL)

    def _pods(self) -> list[Spec]:
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

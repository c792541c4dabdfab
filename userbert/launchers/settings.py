"""Where pre-training runs: one file that a place has of its own (docs/training.md).

`USERBERT_TRAINING` names it; without it, conf/training.toml. Only the standard library is loaded,
since Airflow reads the file whenever it parses the DAGs.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from contracts.commands import ROOT
from contracts.errors import BadInput, UserbertError

LAUNCHERS = {
    "torchrun": "processes on the machine that the task runs on",
    "kubernetes": "a Job of one pod, or of several that train one model",
    "spark": "tasks of the Spark cluster, by TorchDistributor",
}
DEFAULT = ROOT / "conf" / "training.toml"


class TrainingFailed(UserbertError):
    """A training that was launched elsewhere failed; the exit code is its own."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, kw_only=True)
class PodSettings:
    """The table `[kubernetes]`. Quantities are as Kubernetes has them."""

    namespace: str = "userbert"
    image: str = ""  # with this project installed, and torch for the pod's device
    pods: int = 1  # that train one model together, each of `processes` processes
    cpu: str = "4"
    memory: str = "16Gi"
    shared_memory: str = "1Gi"  # of /dev/shm, through which NCCL's processes of a pod talk
    gpus: int = 0  # of each pod; one a process
    gpu_resource: str = "nvidia.com/gpu"
    data_claim: str = "userbert-data"  # a volume that all pods may write: USERBERT_DATA
    data_path: str = "/data"  # where it is mounted
    lake: str = ""  # USERBERT_LAKE, where the lake is on an object store
    secret: str = ""  # whose keys become environment variables: an object store's credentials
    service_account: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    start_minutes: int = 30  # that the pods may wait for their machines
    stop_seconds: int = 120  # from SIGTERM to SIGKILL: a step, and a checkpoint


@dataclass(frozen=True, kw_only=True)
class TrainingPlace:
    """The whole file."""

    launcher: str = "torchrun"
    processes: int = 1  # on this machine, in a pod, or in all as tasks of Spark
    queue: str = "default"  # of the workers that may take the task (Celery's; others ignore it)
    kubernetes: PodSettings = field(default_factory=PodSettings)

    def __post_init__(self) -> None:
        pods = self.kubernetes
        wrong = [
            self.launcher not in LAUNCHERS
            and f"launcher is {self.launcher!r}; choose {', '.join(LAUNCHERS)}",
            self.processes < 1 and f"processes is {self.processes}; it must be 1 or more",
            pods.pods < 1 and f"kubernetes.pods is {pods.pods}; it must be 1 or more",
            self.launcher == "kubernetes"
            and not pods.image
            and "kubernetes.image is missing: an image with this project installed",
            pods.gpus not in (0, self.processes)
            and f"kubernetes.gpus is {pods.gpus}; a pod of {self.processes} processes has that "
            "many, or none",
        ]
        if told := [each for each in wrong if each]:
            raise BadInput(f"settings of training: {'; '.join(map(str, told))}")

    @classmethod
    def read(cls, path: Path) -> "TrainingPlace":
        try:
            told = tomllib.loads(path.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise BadInput(f"{path} cannot be read: {error}") from error
        pods = told.pop("kubernetes", {})
        if wrong := [*_unfit(cls, told, ""), *_unfit(PodSettings, pods, "kubernetes.")]:
            raise BadInput(f"{path}: {'; '.join(wrong)}")
        pods["tolerations"] = tuple(pods.get("tolerations", ()))
        return cls(**told, kubernetes=PodSettings(**pods))

    @classmethod
    def from_environment(cls) -> "TrainingPlace":
        return cls.read(Path(os.environ.get("USERBERT_TRAINING", DEFAULT)))


def training_command(processes: int, rendezvous: Sequence[str] = ()) -> list[str]:
    """What a machine runs, before the flags of `userbert pretrain`.

    One process alone needs no torchrun, which would turn exit codes 2, 3 and 4 into 1.
    """
    if processes == 1 and not rendezvous:
        return ["userbert", "pretrain"]
    where = list(rendezvous) or ["--standalone"]
    return ["torchrun", *where, f"--nproc-per-node={processes}", "-m", "model.training.pretrain"]


def _unfit(owner: type[Any], told: Mapping[str, Any], prefix: str) -> list[str]:
    """What is not a setting of `owner`, or not of its type."""
    kinds = {each.name: type(each.default) for each in fields(owner)} | {"tolerations": list}
    kinds |= {"node_selector": dict}
    known = {each.name for each in fields(owner)}
    return [
        f"there is no setting {prefix}{name}"
        if name not in known
        else f"{prefix}{name} is {value!r}; it must be of type {kinds[name].__name__}"
        for name, value in told.items()
        if name not in known or not isinstance(value, kinds[name])
    ]

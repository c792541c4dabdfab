"""Where pre-training runs: one file of settings for each installation (docs/training.md).

`USERBERT_TRAINING` names the file; without it, conf/training.toml. Airflow reads the file whenever
it parses the DAGs, so nothing is imported here that Airflow has not imported already.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from contracts.commands import CONF_FOLDER
from contracts.errors import UserbertError
from userbert.scheduling.toml_settings import TomlSettings

LauncherName = Literal["torchrun", "kubernetes", "spark"]
_DEFAULT_SETTINGS = CONF_FOLDER / "training.toml"


class TrainingFailed(UserbertError):
    """A training that was launched elsewhere failed; the exit code is its own."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class PodSettings(TomlSettings):
    """The table `[kubernetes]`. Quantities are written as Kubernetes writes them."""

    namespace: str = "userbert"
    image: str = ""  # with this project installed, and torch for the pod's device
    pods: PositiveInt = 1  # that train one model together, each of `processes` processes
    cpu: str = "4"
    memory: str = "16Gi"
    shared_memory: str = "1Gi"  # of /dev/shm, which NCCL uses between the processes of a pod
    gpus: NonNegativeInt = 0  # of each pod; one a process
    gpu_resource: str = "nvidia.com/gpu"
    data_claim: str = "userbert-data"  # a volume that all pods may write: USERBERT_DATA
    data_path: str = "/data"  # where that volume is mounted
    lake: str = ""  # USERBERT_LAKE, if the lake is on an object store
    secret: str = ""  # its keys become environment variables: an object store's credentials
    service_account: str = ""
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: Annotated[tuple[dict[str, Any], ...], Field(strict=False)] = ()
    start_minutes: NonNegativeInt = 30  # how long the pods may wait for their machines
    stop_seconds: NonNegativeInt = 120  # from SIGTERM to SIGKILL: a step, and a checkpoint


class TrainingSettings(TomlSettings):
    """The whole file.

    `torchrun` starts processes on the machine of the task; `kubernetes` starts a Job of one pod, or
    of several that train one model; `spark` starts tasks of the Spark cluster by TorchDistributor.
    """

    launcher: LauncherName = "torchrun"
    processes: PositiveInt = 1  # on this machine, in a pod, or in all as tasks of Spark
    queue: str = "default"  # of the workers that may take the task (Celery's; others ignore it)
    # Whose weights the DAG's trainings begin from: none, champion, or a model's id.
    warm_start: Annotated[str, Field(min_length=1)] = "none"
    # Into whose space the DAG turns a new model: none, champion, founder (of the champion's space)
    # or a model's id. Below the least mean cosine of held-out users it refuses to.
    align_to: Annotated[str, Field(min_length=1)] = "none"
    align_least_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.5
    kubernetes: PodSettings = PodSettings()

    @model_validator(mode="after")
    def _pods_fit(self) -> "TrainingSettings":
        pods, mistakes = self.kubernetes, []
        if self.launcher == "kubernetes" and not pods.image:
            mistakes.append("kubernetes.image is missing: an image with this project installed")
        if pods.gpus not in (0, self.processes):
            mistakes.append(
                f"kubernetes.gpus is {pods.gpus}; a pod of {self.processes} processes has one GPU "
                "a process, or none"
            )
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    @classmethod
    def from_environment(cls) -> "TrainingSettings":
        return cls.read(Path(os.environ.get("USERBERT_TRAINING", _DEFAULT_SETTINGS)))

    def with_overrides(self, **overrides: object) -> "TrainingSettings":
        """These settings with those values that are not None."""
        given = {name: value for name, value in overrides.items() if value is not None}
        return self.checked(self.model_dump() | given, "the command line")


def training_command(processes: int, rendezvous: Sequence[str] = ()) -> list[str]:
    """What a machine runs, before the flags of `userbert pretrain`.

    One process alone needs no torchrun, which would turn exit codes 2, 3 and 4 into 1.
    """
    if processes == 1 and not rendezvous:
        return ["userbert", "pretrain"]
    where = list(rendezvous) or ["--standalone"]
    return ["torchrun", *where, f"--nproc-per-node={processes}", "-m", "model.training.pretrain"]

"""Where a training runs is a setting: this machine, a Kubernetes Job, or tasks of Spark."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_corpus import DAY, interests

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.terminal.command_line import parse_options
from model.storage.checkpoint import read_manifest
from userbert.launchers import launch
from userbert.launchers import spark as spark_launcher
from userbert.launchers.settings import PodSettings, TrainingSettings

GOLDEN = Path(__file__).parent / "golden" / "training_job.yaml"
FLAGS = ["--as-of", str(DAY), "--preset", "tiny", "--steps", "3"]
PLACE = """
launcher = "kubernetes"
processes = 2
queue = "gpus"
[kubernetes]
image = "registry.example/userbert:0.1.0"
pods = 2
gpus = 2
lake = "s3a://bucket/lake"
secret = "userbert-lake"
service_account = "userbert"
node_selector = { accelerator = "h100" }
tolerations = [{ key = "gpu", operator = "Exists", effect = "NoSchedule" }]
"""


def settings(tmp_path, text):
    path = tmp_path / "training.toml"
    path.write_text(text)
    return path


def launched(capsys, *words):
    launch.main(**parse_options(launch.main, [*words, "--", *FLAGS]))
    return capsys.readouterr().out.rstrip()


def test_the_default_is_this_machine_and_one_process_needs_no_torchrun(capsys):
    assert launched(capsys, "--render") == f"userbert pretrain {' '.join(FLAGS)}"
    assert launched(capsys, "--processes", "2", "--render") == (
        f"torchrun --standalone --nproc-per-node=2 -m model.training.pretrain {' '.join(FLAGS)}"
    )


def test_the_rendered_job_is_as_recorded(tmp_path, capsys):
    """`RECORD=1 pytest tests/test_launch.py` rewrites the file: read its diff like code."""
    manifest = launched(capsys, "--settings", str(settings(tmp_path, PLACE)), "--render")
    if os.environ.get("RECORD"):
        GOLDEN.write_text(manifest + "\n")
    assert manifest == GOLDEN.read_text().rstrip()


def test_one_pod_of_one_process_keeps_the_exit_codes_of_pretrain():
    from userbert.launchers.kubernetes import job_manifest, job_name

    one_pod = TrainingSettings(launcher="kubernetes", kubernetes=PodSettings(image="i"))
    manifest = job_manifest(one_pod, FLAGS)
    (job,) = manifest["items"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["userbert", "pretrain"]
    assert container["args"] == FLAGS
    assert job_manifest(one_pod, FLAGS) == manifest
    assert job_name(job_manifest(one_pod, [*FLAGS, "--seed", "1"])) != job_name(manifest)


def test_values_of_the_settings_cannot_change_the_structure_of_the_manifest():
    from userbert.launchers.kubernetes import job_manifest

    odd = {
        "image": 'a"b: {{ c }} # d',
        "secret": "'x'",
        "node_selector": {"y: z": "true", "n": "1"},
    }
    pods = TrainingSettings.checked({"launcher": "kubernetes", "kubernetes": odd}, "here")
    flags = ["--trace", "a 'b' <c> \\ \n"]
    spec = job_manifest(pods, flags)["items"][0]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["image"] == odd["image"]
    assert container["args"] == flags
    assert spec["nodeSelector"] == odd["node_selector"]
    assert container["envFrom"] == [{"secretRef": {"name": "'x'"}}]


def test_wrong_settings_are_named_all_at_once(tmp_path):
    wrong = 'launcher = 1\nproces = 2\n[kubernetes]\nimage = "i"\ngpu = 1\ncpu = 4\npods = "2"'
    with pytest.raises(BadInput) as refused:
        TrainingSettings.read(settings(tmp_path, wrong))
    for part in (
        "launcher is 1: Input should be 'torchrun', 'kubernetes' or 'spark'",
        "there is no setting proces",
        "there is no setting kubernetes.gpu",
        "kubernetes.cpu is 4: Input should be a valid string",
        "kubernetes.pods is '2': Input should be a valid integer",
    ):
        assert part in str(refused.value)
    with pytest.raises(BadInput, match=r"launcher is 'slurm': .*processes is 0: .*greater than"):
        TrainingSettings.checked({"launcher": "slurm", "processes": 0}, "here")
    pods = {"launcher": "kubernetes", "processes": 2, "kubernetes": {"gpus": 3}}
    with pytest.raises(BadInput, match=r"image is missing.*gpus is 3; a pod of 2 processes"):
        TrainingSettings.checked(pods, "here")
    with pytest.raises(BadInput, match=r"no-such-file\.toml cannot be read"):
        TrainingSettings.read(tmp_path / "no-such-file.toml")


def test_it_becomes_the_training_so_exit_codes_are_those_of_pretrain(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "userbert.cli", "launch", "--", *FLAGS],
        env=os.environ | {"USERBERT_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 4
    assert "the lake has no sequence_pairs" in ended.stderr


@pytest.fixture
def _own_environment(monkeypatch):
    """What `trained` sets in a task's own process is put back here."""
    for name in ("USERBERT_DATA", "USERBERT_LAKE"):
        monkeypatch.setenv(name, "")


@pytest.mark.usefixtures("_own_environment")
def test_spark_tasks_train_as_one_process_does(spark, tmp_path):
    """TorchDistributor's barrier stage, real, on local[2]."""
    places = Places(tmp_path)
    interests(places)
    flags = [*FLAGS, "--device", "cpu", "--dropout", "0"]
    name = spark_launcher.train_on_spark(spark, 2, flags, places)
    two = read_manifest(places.models / name)
    answer, exit_code = spark_launcher.train_in_task(
        [*flags, "--out", str(tmp_path / "one"), "--threads", "1"],
        {"USERBERT_DATA": str(places.root), "USERBERT_LAKE": places.lake},
    )
    assert (answer, exit_code) == (name, 0)
    one = read_manifest(tmp_path / "one" / name)
    ours, theirs = (
        [json.loads(line).get("loss", 0) for line in (models / name / "log.jsonl").open()]
        for models in (places.models, tmp_path / "one")
    )
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert two.measures["steps"] == one.measures["steps"] == 3


@pytest.mark.usefixtures("_own_environment")
def test_what_a_task_of_spark_refuses_keeps_its_message_and_exit_code(tmp_path):
    where = {"USERBERT_DATA": str(tmp_path), "USERBERT_LAKE": str(tmp_path / "lake")}
    answer, exit_code = spark_launcher.train_in_task(FLAGS, where)
    assert exit_code == 4
    assert "the lake has no sequence_pairs" in answer
    assert spark_launcher.train_in_task(["--preset", "huge"], {})[1] == 2


# A stand-in for kubectl and the cluster behind it, kept in files; no cluster was at hand.
KUBECTL = """#!{python}
import json, os, pathlib, sys, time
state = pathlib.Path(os.environ["CLUSTER"])
words = [word for word in sys.argv[1:] if not word.startswith("--namespace=")]
with (state / "calls").open("a") as calls:
    print(*words, file=calls)
job, end = state / "job.json", json.loads((state / "end.json").read_text())
if words[0] == "apply":
    job.write_text(sys.stdin.read())
elif words[0] == "delete":
    job.unlink(missing_ok=True)
elif words[0] == "logs":
    time.sleep(end["seconds"])
    print("nrms-of-a-pod", flush=True)
    (state / "over").touch()
elif words[1] == "job" and job.exists():
    over = [{{"type": end["as"], "status": "True"}}] if (state / "over").exists() else []
    print(json.dumps({{"status": {{"conditions": over}}}}))
elif words[1] == "pods":
    ended = {{"state": {{"terminated": {{"exitCode": end["code"]}}}}}}
    pod = {{"status": {{"phase": "Running", "containerStatuses": [ended]}}}}
    print(json.dumps({{"items": [pod]}}))
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Where the stand-in keeps its state, and a way to launch by it."""
    binary = tmp_path / "bin" / "kubectl"
    binary.parent.mkdir()
    binary.write_text(KUBECTL.format(python=sys.executable))
    binary.chmod(binary.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{binary.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("CLUSTER", str(tmp_path))

    def start(**end):
        (tmp_path / "end.json").write_text(json.dumps(end))
        words = ["launch", "--settings", str(settings(tmp_path, PLACE)), "--", *FLAGS]
        return subprocess.Popen(
            [sys.executable, "-m", "userbert.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    (tmp_path / "calls").touch()
    start.calls = lambda: (tmp_path / "calls").read_text().splitlines()
    start.job = tmp_path / "job.json"
    return start


def test_a_job_s_log_is_shown_and_its_last_line_is_the_model_s_id(cluster):
    out, err = (running := cluster(**{"as": "Complete", "code": 0, "seconds": 0})).communicate()
    assert (running.returncode, out.splitlines()[-1]) == (0, "nrms-of-a-pod"), err
    assert [call.split()[0] for call in cluster.calls()].count("apply") == 1
    assert json.loads(cluster.job.read_text())["items"][1]["kind"] == "Job"
    # The same again: what is over is deleted first, for a Job cannot run twice.
    cluster(**{"as": "Complete", "code": 0, "seconds": 0}).communicate()
    kinds = [call.split()[0] for call in cluster.calls()]
    assert kinds.index("delete") < len(kinds) - 1 - kinds[::-1].index("apply")


def test_a_failed_job_ends_with_its_training_s_exit_code(cluster):
    _, err = (running := cluster(**{"as": "Failed", "code": 4, "seconds": 0})).communicate()
    assert running.returncode == 4
    assert "failed; its log says why" in err


def test_sigterm_deletes_the_job_so_that_its_pods_write_a_checkpoint(cluster):
    running = cluster(**{"as": "Complete", "code": 0, "seconds": 60})
    while not any(call.startswith("logs") for call in cluster.calls()):
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate()
    assert running.returncode == 128 + signal.SIGTERM
    assert "the same command goes on from there" in err
    assert not cluster.job.exists()

"""The script that is run first on a GPU runs on a CPU too, and its report says so."""

import json
import subprocess
import sys

from contracts.commands import PROJECT_ROOT


def test_the_gpu_script_runs_on_a_cpu_says_so_and_finds_no_fault(tmp_path):
    out = tmp_path / "report.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--quick", "--out", out]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(out.read_text())
    assert found["failed"] == []
    assert found["agree"]
    assert found["ran_on"] == "a CPU: not run on a GPU"
    assert found["sections"]["agreement"]["naml"]["float32_gradient_difference"] == 0
    assert found["sections"]["torchrun"]["killed_by"] == "SIGKILL"
    assert found["sections"]["torchrun"]["difference_after_resume"] == 0
    assert json.loads(done.stdout.splitlines()[-1])["name"] == "gpu"


def test_training_and_embedding_need_no_more_than_torch_numpy_and_safetensors():
    others = ("pyarrow", "typer", "psutil", "scipy", "rich", "pydantic", "deltalake", "pandas")
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({others!r}))\n"  # an import of None fails
        "import benchmarks.gpu.__main__\n"
        "from benchmarks.gpu.speed import time_embedding\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]

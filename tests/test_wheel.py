"""The wheel, built and used as somebody without the checkout does: no network, another folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from deltalake import DeltaTable

ROOT = Path(__file__).parents[1]
# Names that other projects use for packages of their own, or that are no part of the product.
UNWANTED = {"benchmarks", "conf", "dags", "docs", "tests"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of the tracked files, so that no build folder of the checkout has a part in it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    tracked = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for path in filter(None, tracked.split("\0")):
        if (ROOT / path).exists():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, source / path)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*pip, "-q", "--wheel-dir", out, "."], cwd=source, check=True)
    return next(out.glob("userbert-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder into which the wheel was installed."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile", "-q"]
    subprocess.run([*pip, "--target", target, wheel], check=True)
    return target


def run_installed(installed, folder, *words):
    """Run `words` in `folder`, with the installed packages before those of the checkout."""
    spared = ("SPARK_CONF_DIR", "USERBERT_TRAINING", "PYTHONPATH", "USERBERT_DATA")
    environment = {name: value for name, value in os.environ.items() if name not in spared}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_installs_no_package_with_a_name_that_others_use(wheel):
    top = {Path(name).parts[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert top & UNWANTED == set()
    assert {"contracts", "model", "spark_jobs", "userbert"} <= top


def test_every_package_of_the_wheel_says_that_it_is_typed(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = {name.split("/")[0] for name in names if name.endswith("/__init__.py")}
    assert {package for package in packages if f"{package}/py.typed" not in names} == set()


def test_the_wheel_has_every_file_that_its_modules_read(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    code = {".py", ".typed"}
    read = [path for path in (*ROOT.glob("conf/**/*"), *ROOT.glob("dags/*.py")) if path.is_file()]
    assert {str(path.relative_to(ROOT)) for path in read} <= {
        name.removeprefix("userbert/") for name in names
    }
    packages = {name.split("/")[0] for name in names if name.endswith("/__init__.py")}
    data = {
        str(path.relative_to(ROOT))
        for package in packages
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in code and "__pycache__" not in path.parts
    }
    assert data - names == set()


def test_the_license_is_in_the_wheel(wheel):
    assert any(name.endswith("licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())


def test_the_help_is_there_without_the_checkout(installed, tmp_path):
    code = "import sys, userbert.cli as cli; print(cli.__file__); sys.exit(cli.main(['--help']))"
    path, *text = run_installed(installed, tmp_path, "-c", code).splitlines()
    assert Path(path).is_relative_to(installed)
    assert text[0].startswith("Usage: userbert")


def test_generated_logs_are_ingested_without_the_checkout(installed, tmp_path):
    """The ingest needs Spark's settings, which lie in the wheel as userbert/conf."""
    command = ("-m", "userbert.cli")
    flags = ("--users", "300", "--days", "1", "--seed", "7", "--from", "2026-01-01")
    days = ("--from-day", "2026-01-01", "--to-day", "2026-01-01")
    run_installed(installed, tmp_path, *command, "logs", "generate", *flags)
    run_installed(installed, tmp_path, *command, "browsing-logs", *days)
    assert DeltaTable(tmp_path / "data/lake/browsing_logs").to_pyarrow_dataset().count_rows() > 0

"""The files that other programs read are well-formed, and their versions are those of the lock."""

import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LOCKED = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.M))
SETUP = (ROOT / "setup.py").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
PYTHON = re.search(r"^PYTHON \?= python([\d.]+)$", MAKEFILE, re.M)[1]


def read_yaml(path):
    return yaml.safe_load((ROOT / path).read_text())


def java_of_makefile():
    return re.search(r'version "\(([\d|]+)\)', MAKEFILE)[1].split("|")


def test_the_workflow_runs_what_decides_everywhere_else():
    steps = read_yaml(".github/workflows/ci.yml")["jobs"]["lint-and-test"]["steps"]
    assert steps[-1] == {"run": ".ci/run"}
    given = {key: value for step in steps for key, value in step.get("with", {}).items()}
    assert given["python-version"] == PYTHON
    assert given["java-version"] in java_of_makefile()


def test_the_hooks_use_the_locked_versions():
    hooks = [
        hook for repo in read_yaml(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]
    ]
    pins = [pin.split("==") for hook in hooks for pin in hook.get("additional_dependencies", [])]
    assert {name for name, _ in pins} == {"ruff"}
    assert {f"{name}=={version}" for name, version in pins} == {f"ruff=={LOCKED['ruff']}"}


def test_the_images_have_the_python_and_the_java_that_make_setup_asks_for():
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^FROM python:([\d.]+)-", dockerfile, re.M)[1] == PYTHON
    assert re.search(r"openjdk-(\d+)-jre", dockerfile)[1] in java_of_makefile()
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert container["image"].rpartition(":")[2].startswith(f"{PYTHON}-")
    (java,) = container["features"].values()
    assert java["version"] in java_of_makefile()
    assert container["postCreateCommand"] == "make setup"


def test_what_the_dockerfile_copies_is_there():
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    assert [p for line in copied for p in line.split() if not (ROOT / p).exists()] == []


def test_the_services_use_commands_that_exist():
    from userbert.cli import COMMANDS

    compose = read_yaml("compose.yaml")
    ours = [service for service in compose["services"].values() if "build" in service]
    assert {service["command"][0] for service in ours} <= set(COMMANDS)
    mounted = {v.split(":")[0] for s in compose["services"].values() for v in s["volumes"]}
    assert mounted == set(compose["volumes"])


@pytest.mark.parametrize("name", ["torch", "pyspark", "delta-spark", "apache-airflow"])
def test_the_pins_of_setup_are_the_locked_versions(name):
    pin = re.search(rf'"{name}==([\d.]+)"', SETUP)
    assert pin[1] == LOCKED[name]


def test_the_newest_entry_of_the_changelog_is_the_version_of_setup():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (\S+)", changelog, re.M)
    assert versions[0] == "Unreleased"
    assert versions[1] == re.search(r'version="([^"]+)"', SETUP)[1]


ADRS = sorted((ROOT / "docs/adr").glob("0*.md"))


@pytest.mark.parametrize("page", ADRS, ids=lambda page: page.stem)
def test_a_decision_has_its_four_parts_in_about_150_words(page):
    text = page.read_text()
    assert re.match(
        rf"# {page.stem[:4]}\. .+\n\nStatus: (Accepted|Replaced by \d{{4}}), [\d-]+\n", text
    )
    assert re.findall(r"^## (.+)$", text, re.M) == ["Context", "Decision", "Consequences"]
    assert 60 <= len(text.split()) <= 200


def test_the_list_of_decisions_names_each_page_once():
    listed = re.findall(r"^\| \[(\d+)\]\((.+?)\)", (ROOT / "docs/adr/README.md").read_text(), re.M)
    assert [name for _, name in listed] == [page.name for page in ADRS]
    assert [number for number, _ in listed] == [page.name[:4] for page in ADRS]


def markdown_pages():
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


@pytest.mark.parametrize("page", markdown_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    files = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in files if not (page.parent / link).exists()] == []


def test_the_architecture_names_paths_that_are_there():
    text = (ROOT / "docs/architecture.md").read_text()
    paths = re.findall(r"`([a-z_]+/[a-z_/]+(?:\.py)?/?)`", text)
    assert len(paths) > 15
    assert [path for path in paths if not (ROOT / path).exists()] == []

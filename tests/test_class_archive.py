import os
import subprocess

from spark_jobs.spark import class_archive
from spark_jobs.spark.delta_jars import spark_home

SUBMIT = spark_home() / "bin" / "spark-submit"


def spark_submit(options, places, *words):
    environment = os.environ | {
        class_archive.OPTIONS_VARIABLE: options,
        "USERBERT_DATA": str(places.root),
    }
    return subprocess.run([SUBMIT, *words], env=environment, capture_output=True, text=True)


def test_a_jvm_takes_sparks_classes_from_the_archive_of_the_set_up(places, tmp_path):
    given = class_archive.archive_environment()[class_archive.OPTIONS_VARIABLE]
    log = tmp_path / "loaded"
    done = spark_submit(f"{given} -Xlog:class+load:file={log}", places, "--version")
    assert (done.returncode, done.stdout) == (0, "")
    archived = [line for line in log.read_text().splitlines() if line.endswith("file (top)")]
    assert any("org.apache.spark.deploy.SparkSubmit " in line for line in archived)
    assert len(archived) > 100  # of the few that tell the version


def test_a_jvm_that_the_archive_does_not_fit_starts_without_it_and_without_a_word(places, tmp_path):
    other = tmp_path / "other.jsa"
    other.write_bytes(b"no archive")
    done = spark_submit(
        class_archive.archive_options(f"-XX:SharedArchiveFile={other}"), places, "--version"
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_a_place_of_its_own_starts_without_it(monkeypatch, tmp_path):
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    assert class_archive.archive_environment() == {}


def test_options_that_are_set_already_stay(monkeypatch):
    monkeypatch.setenv(class_archive.OPTIONS_VARIABLE, "-Dmine=1")
    with class_archive.in_environment():
        assert os.environ[class_archive.OPTIONS_VARIABLE] == "-Dmine=1"
    assert os.environ[class_archive.OPTIONS_VARIABLE] == "-Dmine=1"


def test_children_do_not_inherit_it():
    assert class_archive.archive_environment()
    with class_archive.in_environment():
        assert "SharedArchiveFile" in os.environ[class_archive.OPTIONS_VARIABLE]
    assert class_archive.OPTIONS_VARIABLE not in os.environ

"""Pre-train a user model on the pairs of a day (paper, section 3.2), on one process or many.

userbert pretrain --as-of 2017-06-30 --preset small
torchrun --nproc-per-node=2 -m model.training.pretrain --as-of 2017-06-30 --preset small

A model's id follows from its settings and from what it learned from, so the same command again
goes on from the newest checkpoint, or, where the model is finished, does nothing but name it. The
last line of output is the model's id.
"""

import fcntl
import functools
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer

from contracts.errors import BadInput, MissingTable, UserbertError
from contracts.paths import Places
from contracts.terminal.command_line import build_command, run_command
from contracts.terminal.options import AsOf
from model.config import BASE_MODELS, PretrainConfig
from model.config_options import config_from_options, with_config_options
from model.data.build_corpus import newest_versions, training_input_for
from model.data.corpus import HELD_OUT_PER_MILLE, TrainingInput
from model.data.ready_vectors import (
    NO_READY_VECTORS,
    EarlierWeights,
    GivenTitles,
    ReadyVectors,
    file_sha256,
    read_title_vectors,
    read_word_vectors,
)
from model.data.vocabulary import Vocabulary
from model.objective.negatives import with_ranking_dtype
from model.objective.negatives_trace import TraceEvent, trace_writer
from model.objective.objective import OBJECTIVE_VERSION
from model.storage.checkpoint import (
    BrokenCheckpoint,
    load_weights,
    read_manifest,
    write_checkpoint,
)
from model.storage.checkpoint_files import TITLES_FILE, VOCABULARY_FILE, WEIGHTS_FILE
from model.training.distributed import Processes, join_processes
from model.training.evaluation import Measures, Questions, draw_questions
from model.training.memory import keep_freed_memory
from model.training.run_log import LOG_FILE, RunLog
from model.training.trainer import Training
from model.training.warm_start import champion_id_or_none, read_earlier_weights

KEPT_CHECKPOINTS = 2  # the newest, and one in case the disk is at fault


class TrainingStopped(UserbertError):
    """SIGTERM stopped a training, which has written a checkpoint to go on from."""

    exit_code = 128 + signal.SIGTERM


class AlreadyTraining(TrainingStopped):
    """Another process trains the same model."""

    exit_code = 1


def model_id(config: PretrainConfig, given: TrainingInput) -> str:
    """Names a model: its settings, its day, its input and the version of the objective.

    The same settings on the same content are the same model, whatever the Delta versions were.
    """
    facts = f"{sorted(config.to_json().items())}{given.content}{given.as_of}{OBJECTIVE_VERSION}"
    return f"{_base_name(config)}-{given.as_of}-{sha256(facts.encode()).hexdigest()[:10]}"


def _base_name(config: PretrainConfig) -> str:
    if config.model.form != "window":
        return config.model.form
    parts = (config.model.behavior_encoder, config.model.context_encoder, config.model.aggregator)
    for name, base in BASE_MODELS.items():
        if parts == (base.behavior_encoder, base.context_encoder, base.aggregator):
            return name
    return "-".join(parts).replace("_", "")


def require_held_out_users(given: TrainingInput) -> None:
    """Refuse, before the first step, an input that leaves nobody to train or to evaluate on."""
    share = f"{HELD_OUT_PER_MILLE / 10:.0f} % of users, chosen by their ids,"
    if not len(given.training_pairs):
        raise BadInput(f"all {given.num_users} users with pairs are among the {share} held out")
    if not len(given.validation_pairs):
        raise BadInput(
            f"of {given.num_users} users with pairs none is among the {share} that are held out "
            "for validation and test: train on pairs of 50 users or more"
        )


def _warn_of_shared_users(given: TrainingInput) -> None:
    """Of few held-out users none is left to test on, once some validate."""
    if np.array_equal(given.validation_pairs, given.test_pairs):
        sys.stderr.write(
            f"warning: of {given.num_users} users with pairs so few are held out that the same "
            "ones validate and test: the model's measures are of users that chose its weights\n"
        )


def pretrain_model(
    given: TrainingInput,
    config: PretrainConfig,
    out: Path,
    processes: Processes,
    *,
    resume: bool = True,
    threads: int = 0,
    show: bool = False,
    trace: Path | None = None,
    grown_from: Path | None = None,
    ready: ReadyVectors = NO_READY_VECTORS,
) -> Path:
    """Train a model, or finish its training, and return its folder below `out`.

    Unfinished, it lies in `MODEL_ID.training`: checkpoints, log and curves. `threads` of 0 shares
    this machine's processors among its processes. With `trace` each process leaves a record of its
    negatives there; `grown_from` is where such a record's reader finds the earlier vocabulary.
    """
    name = model_id(config, given)
    folder, working = out / name, out / f"{name}.training"
    if folder.exists():
        read_manifest(folder)
        _must_be_recorded(trace, folder)
        shutil.rmtree(working, ignore_errors=True)
        return folder
    _must_divide(config, processes)
    require_held_out_users(given)
    _require_title_vectors(config, ready)
    torch.set_num_threads(threads or _threads(processes))
    with _alone_in(working) if processes.is_first else nullcontext():
        checkpoint, damaged = newest_checkpoint(working) if resume else (None, [])
        config = _as_begun(config, checkpoint, processes)
        training = Training(given, config, processes, torch.get_num_threads(), ready)
        if checkpoint:
            training.restore(checkpoint, training.manifest(name))
            torch.set_num_threads(training.progress.threads)
        processes.wait()  # every process has read before the first one writes
        if processes.is_first:
            _warn_of_shared_users(given)
            _prepare(working, checkpoint, damaged)
        run = _traced_run(name, training, grown_from)
        with _recorded(training, trace, run):
            _run(training, name, working, show)
        if processes.is_first:
            _finish(training, name, folder, working, ready.titles)
        processes.wait()
    return folder


@contextmanager
def _alone_in(working: Path) -> Iterator[None]:
    """Two trainings of one model would empty each other's folder: the second one ends at once.

    The system lets go of the lock when its holder ends, however it ends.
    """
    working.mkdir(parents=True, exist_ok=True)
    file = os.open(working, os.O_RDONLY)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyTraining(
                f"another process trains this model, in {working}; the same command goes on from "
                "its newest checkpoint once it has ended"
            ) from None
        except OSError:  # a disk of the network may know no locks of folders
            sys.stderr.write(f"{working} cannot be locked: start no second training of it\n")
        yield
    finally:
        os.close(file)


def _must_be_recorded(trace: Path | None, folder: Path) -> None:
    """A record of a finished training cannot be had any more: none would be left without a word."""
    if trace and not any(trace.glob("rank-*.jsonl")):
        raise BadInput(
            f"{folder} was finished before, so {trace} would get no record of it: train the model "
            "once more into another folder, which --out names"
        )


def _require_title_vectors(config: PretrainConfig, ready: ReadyVectors) -> None:
    if config.model.behavior_encoder == "given" and not ready.titles:
        raise BadInput(
            "the behavior encoder given takes its title vectors from a file: name it by "
            "--title-vectors FILE"
        )


def _as_begun(
    config: PretrainConfig, checkpoint: Path | None, processes: Processes
) -> PretrainConfig:
    """The settings with what `auto` stands for: as the training began, wherever it goes on."""
    if checkpoint and config.ranking_dtype == "auto":
        return replace(config, ranking_dtype=read_manifest(checkpoint).config.ranking_dtype)
    here = with_ranking_dtype(config, processes.device)
    half = processes.broadcast({"half": here.ranking_dtype == "bfloat16"})["half"]
    return replace(config, ranking_dtype="bfloat16" if half else "float32")


def _must_divide(config: PretrainConfig, processes: Processes) -> None:
    parts = processes.world * config.accumulation
    if config.batch_size % parts:
        raise BadInput(
            f"batch_size {config.batch_size} does not divide by {processes.world} processes x "
            f"{config.accumulation} micro-batches: make it a multiple of {parts}"
        )


def _threads(processes: Processes) -> int:
    return max(1, len(os.sched_getaffinity(0)) // processes.local_world)


def newest_checkpoint(working: Path) -> tuple[Path | None, list[Path]]:
    """The whole checkpoint of the latest step, and the damaged ones after it.

    A half-written one has another name. Where every checkpoint is damaged BrokenCheckpoint says
    so, since a training that begins anew may have lost days of work.
    """
    damaged: list[Path] = []
    reasons: list[str] = []
    for folder in sorted(working.glob("step-*"), reverse=True):
        try:
            read_manifest(folder)
        except (BrokenCheckpoint, MissingTable) as error:
            damaged.append(folder)
            reasons.append(str(error))
        else:
            return folder, damaged
    if damaged:
        raise BrokenCheckpoint(
            f"{working} has no whole checkpoint to go on from; --no-resume begins anew. "
            + " ".join(reasons)
        )
    return None, []


def _prepare(working: Path, checkpoint: Path | None, damaged: list[Path]) -> None:
    """Leave in `working` what the training goes on from: nothing, or whole checkpoints and the log.

    The log is the checkpoint's own, so a log that was lost or damaged since then does no harm.
    """
    if checkpoint is None:
        for path in working.iterdir():  # the folder itself is locked
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return
    for folder in damaged:
        sys.stderr.write(f"{folder} is damaged: the training goes on from {checkpoint.name}\n")
        shutil.rmtree(folder)
    if (checkpoint / LOG_FILE).exists():
        shutil.copyfile(checkpoint / LOG_FILE, working / LOG_FILE)


def _run(training: Training, name: str, working: Path, show: bool) -> None:
    """Update the weights until the training is over, and evaluate the last ones."""
    config, progress, processes = training.config, training.progress, training.processes
    questions = draw_questions(
        training.given.corpus,
        training.given.validation_pairs,
        config.validation_pairs,
    )
    with _log(training, working, show) as log, stop_requested() as must_stop:
        while not training.is_over:
            facts = training.update() | processes.sum_over_processes({"stop": must_stop()})
            stop = facts.pop("stop") > 0
            if log:
                log.step(progress.step, facts)
            if _is_due(config.validation_interval, progress.step):
                _evaluate(training, questions, log)
            if stop or _is_due(config.checkpoint_interval, progress.step):
                _save(training, name, working, log)
            if stop and not training.is_over:
                processes.wait()  # the first one has written
                raise TrainingStopped(
                    f"stopped after step {progress.step} of {config.steps}; "
                    "the same command goes on from there"
                )
        if not (progress.newest_measures and _is_due(config.validation_interval, progress.step)):
            _evaluate(training, questions, log)


@contextmanager
def _log(training: Training, working: Path, show: bool) -> Iterator[RunLog | None]:
    """The log, which the first process keeps for all."""
    if not training.processes.is_first:
        yield None
        return
    done = training.progress
    with RunLog(working, done.step, training.config.steps, done.log_size, show=show) as log:
        yield log


def _traced_run(name: str, training: Training, grown_from: Path | None) -> TraceEvent:
    """The first line of a record: what its reader needs to find the same arrays."""
    given, processes = training.given, training.processes
    return {
        "event": "run",
        "model_id": name,
        "as_of": given.as_of.isoformat(),
        "settings": training.config.to_json(),
        "inputs": given.inputs,
        "content": given.content,
        "grown_from": str(grown_from) if grown_from else None,
        "process": f"{processes.rank} of {processes.world}",
    }


@contextmanager
def _recorded(training: Training, trace: Path | None, run: TraceEvent) -> Iterator[None]:
    path = trace / f"rank-{training.processes.rank}.jsonl" if trace else None
    step = training.progress.step
    with trace_writer(path, run, step) if path else nullcontext() as write_event:
        training.objective.trace = write_event
        yield


def _is_due(interval: int, step: int) -> bool:
    return interval > 0 and step % interval == 0


def _evaluate(training: Training, questions: Questions, log: RunLog | None) -> None:
    measures = training.measures(questions, "validation")
    training.note_evaluation(measures)
    if log:
        log.evaluation(training.progress.step, measures)


def _save(training: Training, name: str, working: Path, log: RunLog | None) -> None:
    tensors = training.tensors()
    if not log:
        return
    training.progress.log_size = log.size
    folder = working / f"step-{training.progress.step:09d}"
    manifest, vocabulary = training.manifest(name), training.given.vocabulary
    write_checkpoint(folder, manifest, vocabulary, tensors, copies={LOG_FILE: log.path})
    for old in sorted(working.glob("step-*"))[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(old)


def _finish(
    training: Training, name: str, folder: Path, working: Path, titles: GivenTitles | None
) -> None:
    """The model in one rename; with `patience` it has the weights of the best evaluation."""
    given, progress = training.given, training.progress
    keeps_best = bool(training.best)
    if keeps_best:
        load_weights(training.model, training.best, working)
    validation = (progress.best_measures if keeps_best else progress.newest_measures) or {}
    manifest = replace(
        training.manifest(name),
        measures=test_measures(training)
        | {_validation_name(measure): value for measure, value in validation.items()}
        | {"steps": float(progress.best_step if keeps_best else progress.step)}
        | {f"learned_from_{what}": float(count) for what, count in given.facts.items()},
        progress={},
    )
    tensors = {WEIGHTS_FILE: training.model.state_dict()}
    if not training.model.reads_words:
        title_ids = torch.from_numpy(np.array(given.corpus.title_ids))
        tensors[TITLES_FILE] = {"title_ids": title_ids}
    if titles:  # all that the file has, so that titles which are viewed later have vectors, too
        tensors[WEIGHTS_FILE] |= {"behavior.vectors": torch.from_numpy(titles.table)}
        tensors[TITLES_FILE] = {"title_ids": torch.from_numpy(titles.title_ids)}
        manifest = replace(manifest, num_titles=len(titles.title_ids))
    write_checkpoint(
        folder, manifest, given.vocabulary, tensors, copies={LOG_FILE: working / LOG_FILE}
    )
    shutil.move(working / "tensorboard", folder / "tensorboard")
    shutil.rmtree(working, ignore_errors=True)


def test_measures(training: Training) -> Measures:
    """What the model makes of the test users, who decided neither its length nor its weights."""
    given, config = training.given, training.config
    questions = draw_questions(given.corpus, given.test_pairs, config.validation_pairs)
    return training.measures(questions, "test")


def _validation_name(measure: str) -> str:
    return measure if measure.startswith("validation_") else f"validation_{measure}"


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether SIGTERM came. Asked after each step, it loses none."""
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGTERM, before)


def _versions(text: str) -> dict[str, int]:
    """`TABLE=N,...` as numbers by table."""
    pairs = [part.partition("=") for part in text.split(",")]
    if wrong := [name for name, _, number in pairs if not number.isdigit()]:
        raise typer.BadParameter(f"{wrong[0]!r} has no version; write TABLE=N,TABLE=N")
    return {name: int(number) for name, _, number in pairs}


@with_config_options()
def run_pretraining(
    as_of: AsOf,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="The folder of the models. [default: models in the data root]",
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to compute.")
    ] = "auto",
    threads: Annotated[
        int, typer.Option("--threads", help="Threads of each process; 0: all cores, shared evenly.")
    ] = 0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume",
            help="Go on from the newest checkpoint of the same model, if there is one.",
        ),
    ] = True,
    versions: Annotated[
        dict[str, int] | None,
        typer.Option(
            "--versions",
            metavar="TABLE=N,...",
            parser=_versions,
            help="The Delta versions to read. [default: the newest]",
        ),
    ] = None,
    grow_from: Annotated[
        str | None,
        typer.Option(
            "--grow-from", metavar="MODEL_ID", help="Keep the word ids of this earlier model."
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace",
            metavar="FOLDER",
            help="Record every choice of negatives there, for `userbert trace check`.",
        ),
    ] = None,
    word_vectors: Annotated[
        Path | None,
        typer.Option(
            "--word-vectors",
            metavar="FILE",
            help="Start words at these vectors: text of GloVe or word2vec.",
        ),
    ] = None,
    title_vectors: Annotated[
        Path | None,
        typer.Option(
            "--title-vectors",
            metavar="FILE",
            help="Take title vectors from this Parquet file (vector, and title_id or title), made "
            "by any text encoder; a linear map brings them to the width.",
        ),
    ] = None,
    warm_start: Annotated[
        str | None,
        typer.Option(
            "--warm-start",
            metavar="MODEL_ID",
            help="Begin from the weights of this model (or `champion`); words go by their text.",
        ),
    ] = None,
    **settings: object,
) -> Path:
    """What the command does, in every process of a training; the folder of the model."""
    keep_freed_memory()
    places = Places.from_environment()
    config = config_from_options(settings)
    titles = read_title_vectors(title_vectors, places.lake) if title_vectors else None
    out = out or places.models
    weights = _earlier_weights(warm_start, places, out)
    config = _with_files(config, word_vectors, title_vectors, titles, weights)
    grown_from = out / grow_from if grow_from else None
    earlier = Vocabulary.load(grown_from / VOCABULARY_FILE) if grown_from else None
    with join_processes(device) as processes:
        given = _read(places, as_of, config, processes, versions or {}, earlier)
        words = read_word_vectors(word_vectors, given.vocabulary) if word_vectors else None
        ready = ReadyVectors(words, titles, weights)
        if processes.is_first:
            _say_what_was_found(given, ready)
        known = (out / model_id(config, given)).exists()
        folder = pretrain_model(
            given,
            config,
            out,
            processes,
            resume=resume,
            threads=threads,
            show=processes.is_first,
            trace=trace,
            grown_from=grown_from,
            ready=ready,
        )
    if processes.is_first:
        _tell(folder, known)
    return folder


def _earlier_weights(name: str | None, places: Places, out: Path) -> EarlierWeights | None:
    """Of the model that is named; none where there is no champion yet."""
    if name == "champion":
        name = champion_id_or_none(places.lake)
        if name is None:
            sys.stderr.write("there is no champion yet: the training begins from random weights\n")
    return read_earlier_weights(out / name) if name else None


def _with_files(
    config: PretrainConfig,
    word_vectors: Path | None,
    title_vectors: Path | None,
    titles: GivenTitles | None,
    weights: EarlierWeights | None,
) -> PretrainConfig:
    """The settings with what the files of vectors decide, and the sha256 of each."""
    if weights:
        config = replace(config, warm_start=f"{weights.model_id} sha256:{weights.sha256}")
    if word_vectors:
        config = replace(config, word_vectors=file_sha256(word_vectors))
    if title_vectors and titles:
        given = {"behavior_encoder": "given", "given_width": titles.vectors.shape[1]}
        model = replace(config.model, **given)
        config = replace(config, model=model, title_vectors=file_sha256(title_vectors))
    return config


def _say_what_was_found(given: TrainingInput, ready: ReadyVectors) -> None:
    if ready.words:
        found, total = len(ready.words.word_ids), len(given.vocabulary.words)
        sys.stderr.write(f"word vectors: {found:,} of the {total:,} words of the vocabulary\n")
    if ready.titles:
        title_ids = np.asarray(given.corpus.title_ids)
        found, total = ready.titles.num_found(title_ids), len(title_ids)
        sys.stderr.write(f"title vectors: {found:,} of the {total:,} titles that were viewed\n")


@functools.wraps(run_pretraining)
def main(**options: Any) -> None:
    run_pretraining(**options)


def _read(
    places: Places,
    as_of: date,
    config: PretrainConfig,
    processes: Processes,
    versions: dict[str, int],
    earlier: Vocabulary | None,
) -> TrainingInput:
    """The same Delta versions in every process; one process of each machine makes the arrays."""
    newest = newest_versions(places.lake, config)
    pinned = processes.broadcast(newest | versions)

    def read() -> TrainingInput:
        return training_input_for(config, places, as_of, pinned, earlier, verify=False)

    if processes.is_first_here:
        training_input_for(config, places, as_of, pinned, earlier)
    processes.wait()
    return read()


def _tell(folder: Path, known: bool) -> None:
    manifest = read_manifest(folder)
    measures = {name: round(value, 4) for name, value in manifest.measures.items()}
    lines = [
        f"{folder}: " + ("was finished before; nothing to do" if known else "finished"),
        *(f"  {name}: {value:,g}" for name, value in measures.items()),
        manifest.model_id,
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(run_command(build_command(main, __doc__), sys.argv[1:], "pretrain"))

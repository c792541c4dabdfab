"""Plant one bug at a time in the model's code, and count those that no fast test notices.

    python tests/faults/planted_bugs.py                # all of them; ends with 1 if one survives
    python tests/faults/planted_bugs.py --only crops   # those whose name holds this word

Each bug is a replacement of text in one file, in a copy of the checkout. A replacement that no
longer applies is an error: the code has changed, and so must the bug. The tests that are named
with a bug run first; only a bug that they miss is tried against all fast tests of the model.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("contracts", "model", "tests", "expectations", "pyproject.toml", "userbert", "landing")
FAST_TESTS = (
    *("test_evaluation", "test_trainer", "test_negatives", "test_objective", "test_tasks"),
    *("test_corpus", "test_encoders", "test_first_weights", "test_comparison", "test_embedding"),
    *("test_checkpoint", "test_vocabulary", "test_pretraining"),
)
LIMIT_S = 300  # a bug may make a test hang; that counts as noticed


@dataclass(frozen=True)
class Bug:
    name: str
    file: str
    text: str  # must stand in the file exactly once
    planted: str
    test: str  # the module that is expected to notice


VECTORS = "model/vector_measures.py"
EVALUATION, TRAINER = "model/training/evaluation.py", "model/training/trainer.py"
MASKED = "model/objective/tasks/masked_behaviors.py"
MATCHING = "model/objective/tasks/sequence_matching.py"
NEGATIVES, CHECK = "model/objective/negatives.py", "model/objective/trace_check.py"
OBJECTIVE, CONFIG = "model/objective/objective.py", "model/config.py"
BUILD, PRETRAIN = "model/data/build_corpus.py", "model/training/pretrain.py"
VIEWS = "model/objective/tasks/contrasted_views.py"
MODEL_CONFIG = "model/settings/model_config.py"

BUGS = (
    # The measures of held-out users.
    Bug(
        "effective rank of vectors that are not centered",
        VECTORS,
        " - vectors.mean(0, dtype=np.float64)",
        "",
        "test_evaluation",
    ),
    Bug(
        "effective rank of squared singular values",
        VECTORS,
        "shares = spread / spread.sum()",
        "shares = spread**2 / (spread**2).sum()",
        "test_evaluation",
    ),
    Bug(
        "effective rank without the exponential",
        VECTORS,
        "return float(np.exp(-(shares * np.log(shares)).sum()))",
        "return float(-(shares * np.log(shares)).sum())",
        "test_evaluation",
    ),
    Bug(
        "a tie is a hit",
        EVALUATION,
        "scores[:, 0] > scores[:, 1:].max(1)",
        "scores[:, 0] >= scores[:, 1:].max(1)",
        "test_evaluation",
    ),
    Bug(
        "user vectors of zeros are evaluated",
        EVALUATION,
        "users = user_vectors(model,",
        "users = 0 * user_vectors(model,",
        "test_evaluation",
    ),
    Bug(
        "the user's own sequences are strangers",
        MATCHING,
        "is_apart & is_late & (users != users[first])",
        "is_apart & is_late",
        "test_evaluation",
    ),
    Bug(
        "all sequences are apart in time",
        MATCHING,
        "is_apart = (starts > ends[first]) | (ends < starts[first])",
        "is_apart = np.ones(len(starts), bool)",
        "test_evaluation",
    ),
    Bug(
        "sequences that share an instant are apart",
        MATCHING,
        "(starts > ends[first]) | (ends < starts[first])",
        "(starts >= ends[first]) | (ends <= starts[first])",
        "test_evaluation",
    ),
    Bug(
        "wrong titles are drawn once",
        MASKED,
        "        if not is_alike.any():\n            break",
        "        break",
        "test_evaluation",
    ),
    Bug(
        "the masked question is asked without its mask",
        MASKED,
        "model.hidden_states(histories, is_hidden.to(model.device))",
        "model.hidden_states(histories, torch.zeros_like(is_hidden).to(model.device))",
        "test_evaluation",
    ),
    Bug(
        "another model reads a day in foreign word ids",
        "model/training/comparison.py",
        "earlier=trained.vocabulary",
        "earlier=None",
        "test_comparison",
    ),
    # Training.
    Bug(
        "the best weights are no copy",
        TRAINER,
        "{k: v.clone() for k, v in self.model.state_dict().items()}",
        "dict(self.model.state_dict())",
        "test_trainer",
    ),
    Bug(
        "the scheduled rate is logged and not used",
        TRAINER,
        'group["lr"] = rate',
        "pass",
        "test_trainer",
    ),
    Bug(
        "no centering of the first weights",
        "model/training/build_objective.py",
        'if config.first_weights == "centered":',
        "if False:",
        "test_trainer",
    ),
    Bug("no clipping", TRAINER, "if self.config.max_norm:", "if False:", "test_trainer"),
    Bug(
        "evaluations without improvement are never forgotten",
        TRAINER,
        "            progress.evaluations_since_best = 0\n",
        "",
        "test_trainer",
    ),
    Bug(
        "the best weights are not restored",
        TRAINER,
        "if BEST_WEIGHTS_FILE in found.files:",
        "if False:",
        "test_trainer",
    ),
    Bug(
        "patience waits for one evaluation more",
        TRAINER,
        "progress.evaluations_since_best >= config.patience",
        "progress.evaluations_since_best > config.patience",
        "test_trainer",
    ),
    Bug(
        "first weights ignore the seed",
        TRAINER,
        "torch.manual_seed(config.seed)",
        "torch.manual_seed(0)",
        "test_trainer",
    ),
    Bug(
        "the newest weights are kept in place of the best",
        PRETRAIN,
        "        load_weights(training.model, training.best, working)\n",
        "        pass\n",
        "test_pretraining",
    ),
    Bug(
        "the last step is evaluated when it was, and not when it was not",
        PRETRAIN,
        "if not (progress.newest_measures and _is_due",
        "if (progress.newest_measures and _is_due",
        "test_trainer",
    ),
    Bug(
        "validation users are tested",
        PRETRAIN,
        "draw_questions(given.corpus, given.test_pairs, config.validation_pairs)",
        "draw_questions(given.corpus, given.validation_pairs, config.validation_pairs)",
        "test_pretraining",
    ),
    Bug(
        "a model's id without the version of the objective",
        PRETRAIN,
        "{given.as_of}{OBJECTIVE_VERSION}",
        "{given.as_of}",
        "test_pretraining",
    ),
    Bug(
        "a damaged checkpoint stays in the way",
        PRETRAIN,
        "        shutil.rmtree(folder)\n    if (checkpoint",
        "    if (checkpoint",
        "test_pretraining",
    ),
    Bug(
        "a resumed log begins with nothing",
        PRETRAIN,
        "        shutil.copyfile(checkpoint / LOG_FILE, working / LOG_FILE)\n",
        "        pass\n",
        "test_pretraining",
    ),
    Bug(
        "batches ignore the seed",
        "model/data/batches.py",
        'keyed_generator(seed, "batches", epoch)',
        'keyed_generator(0, "batches", epoch)',
        "test_trainer",
    ),
    Bug(
        "batches ignore the epoch",
        "model/data/batches.py",
        'keyed_generator(seed, "batches", epoch)',
        'keyed_generator(seed, "batches", 0)',
        "test_objective",
    ),
    # The model and the objective.
    Bug(
        "no dropout of states",
        "model/layers/user_model.py",
        "dropped: Tensor = self.dropout(states)",
        "dropped: Tensor = states",
        "test_encoders",
    ),
    Bug(
        "no dropout of behaviors",
        "model/layers/user_model.py",
        "self.context(self.dropout(behaviors), layout)",
        "self.context(behaviors, layout)",
        "test_encoders",
    ),
    Bug(
        "word positions are left out",
        "model/layers/encoders.py",
        "rows_at(projected, index) + rows_at(positions, layout.places)",
        "rows_at(projected, index)",
        "test_encoders",
    ),
    Bug(
        "a block of BERT4Rec without its residual",
        "model/layers/transformer.py",
        "self.feed_forward_norm(behaviors + self.dropout(widened))",
        "self.feed_forward_norm(self.dropout(widened))",
        "test_encoders",
    ),
    Bug(
        "dropout ignores the step",
        OBJECTIVE,
        '"dropout", step, int(pairs[0])',
        '"dropout", 0, int(pairs[0])',
        "test_objective",
    ),
    Bug(
        "dropout ignores the pair",
        OBJECTIVE,
        '"dropout", step, int(pairs[0])',
        '"dropout", step, 0',
        "test_objective",
    ),
    Bug(
        "dropout ignores the seed",
        OBJECTIVE,
        'self.config.seed, "dropout"',
        '0, "dropout"',
        "test_objective",
    ),
    Bug(
        "word dropout ignores the step",
        OBJECTIVE,
        '"word dropout", step,',
        '"word dropout", 0,',
        "test_objective",
    ),
    Bug(
        "word dropout is never drawn",
        OBJECTIVE,
        "if config.word_dropout:",
        "if False:",
        "test_objective",
    ),
    Bug(
        "masks ignore the seed",
        MASKED,
        "keyed_bits(config.seed, purpose",
        "keyed_bits(0, purpose",
        "test_tasks",
    ),
    Bug(
        "B is masked by A's draw",
        MASKED,
        'config, "mask late")',
        'config, "mask")',
        "test_tasks",
    ),
    Bug(
        "masks of B are not counted",
        MASKED,
        "            count += num_masked(late, config.mask_rate).sum()\n",
        "            pass\n",
        "test_tasks",
    ),
    Bug(
        "the next behaviors ignore the seed",
        "model/objective/tasks/next_behaviors.py",
        'keyed_bits(config.seed, "next"',
        'keyed_bits(0, "next"',
        "test_tasks",
    ),
    Bug(
        "views ignore the seed",
        VIEWS,
        'keyed_generator(seed, "views"',
        'keyed_generator(0, "views"',
        "test_tasks",
    ),
    Bug(
        "both views by the same operation",
        VIEWS,
        "draw.choice(3, 2, replace=False)",
        "draw.choice(3, 2, replace=True)",
        "test_tasks",
    ),
    Bug(
        "a share without negative sequences is looked up",
        MATCHING,
        "if not len(others):",
        "if False:",
        "test_tasks",
    ),
    # Negatives.
    Bug(
        "behavior pools ignore the seed",
        NEGATIVES,
        'keyed_generator(self.config.seed, "behavior pool", step)',
        'keyed_generator(0, "behavior pool", step)',
        "test_negatives",
    ),
    Bug(
        "behavior pools ignore the step",
        NEGATIVES,
        'keyed_generator(self.config.seed, "behavior pool", step)',
        'keyed_generator(self.config.seed, "behavior pool", 0)',
        "test_negatives",
    ),
    Bug(
        "sequence pools ignore the seed",
        NEGATIVES,
        'keyed_generator(self.config.seed, "sequence pool", step)',
        'keyed_generator(0, "sequence pool", step)',
        "test_negatives",
    ),
    Bug(
        "the same sequence pool at every refresh",
        NEGATIVES,
        'keyed_generator(self.config.seed, "sequence pool", step)',
        'keyed_generator(self.config.seed, "sequence pool", 0)',
        "test_negatives",
    ),
    Bug(
        "crops as long as A",
        NEGATIVES,
        "self.corpus.pairs[pairs, 1]).lengths",
        "self.corpus.pairs[pairs, 0]).lengths",
        "test_negatives",
    ),
    Bug(
        "lengths of crops in any order",
        NEGATIVES,
        'lengths[np.argsort(whole, kind="stable")] = np.sort(late)',
        "lengths = late",
        "test_negatives",
    ),
    Bug(
        "crops longer than their rows",
        NEGATIVES,
        "lengths = np.minimum(whole, lengths)",
        "lengths = lengths + 0",
        "test_negatives",
    ),
    Bug(
        "crops begin at the first view",
        NEGATIVES,
        "draw.integers(whole - lengths + 1)",
        "0 * draw.integers(whole - lengths + 1)",
        "test_negatives",
    ),
    Bug(
        "crops never end at the last view",
        NEGATIVES,
        "draw.integers(whole - lengths + 1)",
        "draw.integers(np.maximum(whole - lengths, 1))",
        "test_negatives",
    ),
    Bug(
        "the order of random sequences ignores the step",
        NEGATIVES,
        '"sequence order", step, self.pairs)',
        '"sequence order", 0, self.pairs)',
        "test_negatives",
    ),
    Bug(
        "the order of random sequences ignores the pair",
        NEGATIVES,
        '"sequence order", step, self.pairs)',
        '"sequence order", step, np.zeros_like(self.pairs))',
        "test_negatives",
    ),
    Bug(
        "the order of random sequences ignores the seed",
        NEGATIVES,
        'keyed_bits(self.config.seed, "sequence order"',
        'keyed_bits(0, "sequence order"',
        "test_negatives",
    ),
    # The check of a trace.
    Bug(
        "the trace check takes a view at A's first instant for apart",
        CHECK,
        "(views.values >= begins[:, None])",
        "(views.values > begins[:, None])",
        "test_negatives",
    ),
    Bug(
        "the trace check takes a view at A's last instant for apart",
        CHECK,
        "(views.values <= ends[:, None])",
        "(views.values < ends[:, None])",
        "test_negatives",
    ),
    Bug(
        "the trace check allows views that nobody trains on",
        CHECK,
        "bool(self.is_behavior[pool].all())",
        "True",
        "test_negatives",
    ),
    Bug(
        "the trace check allows crops of held-out users",
        CHECK,
        "fits &= np.isin(rows, self.sequences)",
        "pass",
        "test_negatives",
    ),
    Bug(
        "the trace check compares titles and not what the encoder sees",
        CHECK,
        "other = self.identity[targets][:, None] != self.identity[pool]",
        "other = targets[:, None] != pool",
        "test_negatives",
    ),
    Bug(
        "the trace check allows a pool that was drawn before",
        CHECK,
        "is_fresh = is_everything or not np.array_equal(crops, before)",
        "is_fresh = True",
        "test_negatives",
    ),
    # The arrays and the first weights.
    Bug(
        "times are left out of the comparison of sequences",
        BUILD,
        "(row_fingerprints(times) << np.uint64(1))",
        "(row_fingerprints(times) & np.uint64(0))",
        "test_corpus",
    ),
    Bug(
        "arrays of another earlier vocabulary are taken for the same",
        BUILD,
        '"earlier": earlier.sha256 if earlier else None,',
        '"earlier": None,',
        "test_corpus",
    ),
    Bug(
        "damaged arrays are trained on",
        BUILD,
        "if verify and _content(folder, *has) != given.content:",
        "if False:",
        "test_corpus",
    ),
    Bug(
        "the last filter of a source alone is kept",
        "model/data/delta_source.py",
        "reduce(and_, filters) if filters else None",
        "filters[-1] if filters else None",
        "test_corpus",
    ),
    Bug(
        "words are not scaled to variance one",
        "model/training/initialization.py",
        'if name == "words.weight":',
        "if False:",
        "test_first_weights",
    ),
    # Table 4 of the paper.
    Bug("Table 4: the rate", CONFIG, "= 1e-5", "= 1e-4", "test_objective"),
    Bug(
        "Table 4: the behavior pool",
        CONFIG,
        "(the paper's m)\"] = 1000",
        '"] = 500',
        "test_objective",
    ),
    Bug(
        "Table 4: the sequence pool",
        CONFIG,
        "(the paper's u)\"] = 100",
        '"] = 50',
        "test_objective",
    ),
    Bug(
        "Table 4: the batch",
        CONFIG,
        'over all processes and micro-batches"] = 32',
        'over all processes and micro-batches"] = 64',
        "test_objective",
    ),
    Bug(
        "Table 4: the heads",
        MODEL_CONFIG,
        '"heads of every self-attention"] = 16',
        '"heads of every self-attention"] = 8',
        "test_objective",
    ),
    Bug("Table 4: the dropout", MODEL_CONFIG, "    ] = 0.2\n", "    ] = 0.1\n", "test_objective"),
)


def copy_checkout(folder: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, folder / name)


def plant(bug: Bug, folder: Path) -> str:
    """The file's text without the bug, after the bug was planted."""
    path = folder / bug.file
    text = path.read_text()
    if (count := text.count(bug.text)) != 1:
        raise SystemExit(f"{bug.name}: its text stands {count} times in {bug.file}, not once")
    path.write_text(text.replace(bug.text, bug.planted))
    return text


def is_noticed(folder: Path, tests: tuple[str, ...]) -> bool:
    files = [f"tests/{name}.py" for name in tests]
    options = ["-x", "-q", "-p", "no:cacheprovider", "-o", "addopts="]
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *files],
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode == 1  # 2 and above: pytest itself failed, which proves nothing


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(only: str) -> int:
    chosen = [bug for bug in BUGS if only in bug.name]
    survivors = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_checkout(folder)
        for bug in chosen:  # all must apply before the first one runs
            (folder / bug.file).write_text(plant(bug, folder))
        if is_noticed(folder, FAST_TESTS):
            raise SystemExit("a fast test of the model fails without any planted bug")
        for nth, bug in enumerate(chosen, start=1):
            started, text = time.monotonic(), plant(bug, folder)
            noticed = is_noticed(folder, (bug.test,)) or is_noticed(folder, FAST_TESTS)
            (folder / bug.file).write_text(text)
            survivors += [] if noticed else [bug.name]
            outcome = "noticed" if noticed else "SURVIVED"
            seconds = time.monotonic() - started
            say(f"{nth}/{len(chosen)} {outcome} in {seconds:.0f} s: {bug.name}")
    say(f"{len(survivors)} of {len(chosen)} planted bugs survive the fast tests of the model")
    return 1 if survivors else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", metavar="WORD", help="bugs whose name holds it")
    sys.exit(main(parser.parse_args().only))

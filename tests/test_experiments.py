"""Grids of experiments: settings, plan, a run that is killed and goes on, and what is reported."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure
from small_clicks import MIDNIGHT, write_clicks_lake
from small_corpus import DAY

from contracts.errors import BadInput, MissingTable
from contracts.paths import Places
from contracts.provenance import VIEW_TIMES_MADE_UP
from experiments.data.click_data import read_click_data
from experiments.grid import grid as grids
from experiments.grid.cells import Cell, CellResult, finished_result
from experiments.grid.cost import Costs, reckon_plan, recorded_cell_costs
from experiments.grid.grid import given_model
from experiments.grid.pilot import PretrainingCost
from experiments.grid.settings import DEFAULT_FILE, ExperimentFile, finetune_settings, variant_names
from experiments.grid.work import run_cell
from experiments.results.picture import _draw_bars
from experiments.results.report import _columns
from experiments.results.summary import Row, paired_p_value, summary_rows
from model.config import PRESETS
from userbert.cli import main
from userbert.commands.experiment import _grid

FILE = ExperimentFile.read(DEFAULT_FILE)
WORDS = ["table2", "--preset", "tiny", "--as-of", f"{DAY}", "--base-models", "naml", "--seeds", "2",
         "--variants", "none,UserBERT", "--training-days", "3", "--validation-days", "1",
         "--test-days", "2"]  # fmt: skip
OPTIONS = {
    "name": "table2", "preset": "tiny", "as_of": DAY, "impressions": "views", "seeds": 2,
    "label_shares": None, "base_models": "naml", "models": None, "variants": "none,UserBERT",
    "training_days": 3, "validation_days": 1, "test_days": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    places = Places(tmp_path_factory.mktemp("experiments"))
    write_clicks_lake(places, days_before=(40, 3))
    return places


@pytest.fixture
def grid(places, monkeypatch):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    return _grid(**OPTIONS)


def test_a_killed_grid_goes_on_with_the_cells_that_are_missing(grid, places, capsys):
    """Killed after the first of eight cells; the rest is the command's."""
    plan = ["experiment", "plan", *WORDS, "--processes", "2", "--json"]
    assert main(plan) == 0
    before = json.loads(capsys.readouterr().out)
    assert (before["num_cells"], before["num_finished"], before["num_pretrainings"]) == (8, 0, 2)
    assert before["num_recorded"] == 0
    assert before["cpu_hours"] == pytest.approx(before["minutes"] * 2 / 60)
    assert before["pretraining_cpu_seconds"] > 0
    assert before["cell_cpu_seconds"] > 0

    def stop_at_a_cell(line):
        if line.startswith("cell"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grids.run_grid(grid, 1, stop_at_a_cell)
    (first,) = [cell for cell in grid.cells if finished_result(cell, grid.folders)]
    file = grid.folders.cells / f"{first.key}.json"
    written = file.stat().st_mtime_ns
    assert main(["experiment", "run", *WORDS, "--processes", "1"]) == 0
    printed = capsys.readouterr()
    assert "cell 8 of 8" in printed.err
    assert "cell 1 of 8" not in printed.err
    assert "pre-training" not in printed.err
    assert file.stat().st_mtime_ns == written
    folder = places.root / "experiments/results/table2-tiny"
    rows = json.loads((folder / "results.json").read_text())["rows"]
    none = next(r for r in rows if (r["variant"], r["share"], r["metric"]) == ("none", 1.0, "auc"))
    assert none["paper"] == pytest.approx(0.6102)
    assert len(none["values"]) == 2
    assert (folder / "results.png").stat().st_size > 1000
    assert (folder / "results.csv").read_text().startswith("base_model,variant,label_share,metric")
    assert main(plan) == 0
    assert json.loads(capsys.readouterr().out)["minutes"] == 0
    more = [*plan, "--seeds", "3"]  # four cells more, which cost what the finished ones took
    assert main(more) == 0
    after = json.loads(capsys.readouterr().out)
    recorded = recorded_cell_costs(grid.folders)
    assert (after["num_recorded"], after["num_pretrainings"]) == (4, 0)
    assert after["cell_cpu_seconds"] == pytest.approx(2 * sum(recorded.values()))
    assert main(["experiment", "show", *WORDS]) == 0
    shown = capsys.readouterr().out
    assert "UserBERT" in shown
    parts = read_click_data(grid.folders.data / grid.cells[0].data).parts
    for name, part in parts.items():
        assert f"{len(part)} {name}" in shown


def test_experiments_share_the_cells_that_are_equal(grid, monkeypatch):
    """Figure 5's `none` and both tasks are Table 2's rows of the same base model."""
    figure = _grid(**OPTIONS | {"name": "figure5"})
    assert {cell.key for cell in figure.cells} == {cell.key for cell in grid.cells}


def test_a_sweep_shows_what_its_steps_cost(places, grid, capsys):
    values = "refresh_interval=1,refresh_interval=50"
    sizes = ["--label-shares", "1", "--seeds", "1", "--processes", "1", "--variants", values]
    words = ["figure10", *WORDS[1:]]
    assert main(["experiment", "run", *words, *sizes]) == 0, capsys.readouterr().err
    said = "the paper draws these points without numbers, so only its finding can be compared"
    assert said in capsys.readouterr().out
    folder = places.root / "experiments/results/figure10-tiny"
    times = json.loads((folder / "results.json").read_text())["seconds_of_a_pretraining_step"]
    assert len(times) == 2
    assert all(0 < each["sampling_seconds"] < each["seconds"] for each in times.values())
    assert (folder / "results.png").stat().st_size > 1000


def test_planted_interests_are_asked_of_vectors_without_any_fine_tuning(places, grid, capsys):
    """15 of 60 users share each lasting interest, and 30 each passing one."""
    rows = [
        {"user_id": f"user{user}", "topic": f"{kind}{user % count}", "weight": weight,
         "from_day": DAY - timedelta(days=9), "to_day": DAY, "is_lasting": kind == "lasting"}
        for user in range(60)
        for kind, count, weight in (("lasting", 4, 0.75), ("passing", 2, 0.25))
    ]  # fmt: skip
    (places.root / "planted").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), places.root / "planted/interests.parquet")
    words = ["planted", *WORDS[1:]]
    assert main(["experiment", "run", *words, "--processes", "1"]) == 0, capsys.readouterr().err
    asked = _grid(**OPTIONS | {"name": "planted"})
    results = asked.results()
    assert [(cell.seed, cell.share) for cell in asked.cells] == [(0, 1.0), (1, 1.0)] * 2
    for result in results.values():
        assert result.metrics["lasting_chance"] == pytest.approx(14 / 59)
        assert result.metrics["passing_chance"] == pytest.approx(29 / 59)
    first = next(iter(results.values())).metrics
    assert first["lasting_lift"] == pytest.approx(first["lasting_shared"] * 59 / 14)
    page = (places.root / "experiments/results/planted-tiny/results.md").read_text()
    assert "| base model | variant | ours | p |\n" in page  # no labels, and no numbers of the paper


def test_the_memory_form_is_fine_tuned_from_scratch_and_pre_trained(places, grid, capsys):
    words = ["memory", *WORDS[1:5], *WORDS[11:], "--seeds", "1", "--label-shares", "1"]
    assert main(["experiment", "run", *words, "--processes", "1"]) == 0, capsys.readouterr().err
    folder = places.root / "experiments/results/memory-tiny"
    found = json.loads((folder / "results.json").read_text())
    assert found["finished_cells"] == found["cells"] == 2
    forms = {s["model"]["form"] for s in found["pretraining_settings"].values()}
    steps = {s.get("steps") for s in found["pretraining_settings"].values()}
    assert (forms, steps) == ({"memory"}, {0, 4})


def test_a_model_that_reads_times_is_refused_on_histories_without_times(places, grid, capsys):
    """As MIND's are; before anything is trained."""
    rows = [{"user_id": "user0", "event_time": MIDNIGHT + timedelta(hours=hour), "title": title,
             "clicked": title == "red shoes"}
            for hour in (1, 80, 100) for title in ("red shoes", "green tea")]  # fmt: skip
    table = pa.Table.from_pylist(rows).replace_schema_metadata({VIEW_TIMES_MADE_UP: b"true"})
    (places.root / "impressions").mkdir()
    pq.write_table(table, places.root / "impressions/mind.parquet")
    words = ["memory", *WORDS[1:5], *WORDS[11:], "--impressions", "mind"]
    assert main(["experiment", "plan", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "reads the times of views, and those of MIND's histories are made up" in line


def test_a_model_of_the_data_root_is_fine_tuned_unless_it_saw_the_impressions(places, grid):
    grids.run_grid(replace(grid, cells=grid.cells[:1]), 1)
    trained = grid.folders.model(grid.pretrainings[0])
    shutil.copytree(trained, places.models / trained.name, dirs_exist_ok=True)
    both = _grid(**OPTIONS | {"models": trained.name})
    own = [cell for cell in both.cells if cell.pretraining.is_given]
    assert len(both.cells) == len(grid.cells) + len(own) == 12
    first = run_cell(own[0], both.folders)
    assert first.metrics == grid.results()[grid.cells[0]].metrics
    with pytest.raises(BadInput, match="impressions begin on 2020-01-29: it has seen them"):
        given_model(places, trained.name, DAY - timedelta(days=2))


def test_without_a_day_the_newest_pairs_with_enough_days_after_them_are_taken(grid):
    newest = _grid(**OPTIONS | {"as_of": None})
    assert newest.cells == grid.cells
    with pytest.raises(MissingTable, match="no pre-training pairs as of 2020-01-27 or earlier"):
        _grid(**OPTIONS | {"as_of": None, "test_days": 6})


def test_a_plan_is_the_sum_of_what_is_missing(grid):
    first, second = grid.pretrainings
    few, all_labels = (next(c.cost_key for c in grid.cells if c.share == s) for s in (0.25, 1.0))
    costs = Costs(
        pretrainings={
            first.model_id: PretrainingCost(60.0, 1 << 20),
            second.model_id: PretrainingCost(120.0, 1 << 20),
        },
        cells={few: 30.0, all_labels: 90.0},
        recorded=frozenset([few]),
    )
    plan = reckon_plan(grid, [second], list(grid.cells[1:]), costs, processes=2)
    assert (plan.num_cells, plan.num_finished, plan.num_pretrainings) == (8, 1, 1)
    assert plan.num_recorded == 3
    assert plan.pretraining_cpu_seconds == 120
    assert plan.cell_cpu_seconds == 3 * 30 + 4 * 90
    assert plan.minutes == pytest.approx((2 + 7.5) / 2)
    # The weights, two checkpoints of three times their size while it runs, and seven cells.
    assert plan.disk_mib == pytest.approx(1 + 6 + 7 * 4096 / (1 << 20))


def test_every_experiment_of_the_paper_is_there_with_settings_that_can_be_trained():
    figures = {f"figure{number}" for number in range(5, 17)}
    own = {"length", "memory", "planted", "planted_memory"}
    assert {"table2", "table3", *figures, *own} == set(FILE.experiments)
    for experiment in FILE.experiments.values():
        for preset in FILE.presets.values():
            finetune_settings(experiment, preset)
            for variant in variant_names(experiment):
                config = FILE.pretraining(experiment, preset, experiment.base_models[0], variant)
                assert config.patience == 0
    table = FILE.experiment("table3")
    assert table.negatives == 1
    assert table.paper_mean("ap", "bert4rec_text", "UserBERT", 0.25) == pytest.approx(0.7534)


def test_the_variants_are_the_presets_of_the_baselines():
    experiment, preset = FILE.experiment("table2"), FILE.preset("paper")
    for variant, name in (("PTUM", "ptum"), ("CP", "cp"), ("UserBERT", "paper")):
        found, expected = FILE.pretraining(experiment, preset, "nrms", variant), PRESETS[name]
        for setting in ("tasks", "masked_from", "negatives", "K", "behavior_pool", "learning_rate"):
            assert getattr(found, setting) == getattr(expected, setting), (variant, setting)
    lengths = FILE.experiment("length")
    found = FILE.pretraining(lengths, preset, "nrms", "max_views=25")
    assert (found.model.max_views, found.tasks) == (25, ("mbp", "bsm"))
    sweep = FILE.experiment("figure10")
    found = FILE.pretraining(sweep, preset, "nrms", "refresh_interval=200")
    assert (found.refresh_interval, found.negatives) == (200, "medium")


def test_every_seed_is_paired_with_the_baselines():
    """Differences of 1, 2 and 3: a mean of 2 and an error of 1/sqrt(3), so t is 2 sqrt(3)."""
    values = np.array([0.0, 10, 20])
    assert paired_p_value(values, values - [1, 2, 3]) == pytest.approx(0.0742, abs=1e-4)
    assert paired_p_value(values, values) == 1
    assert paired_p_value(values, values - 1) == 0
    assert paired_p_value(values[:1], values[:1]) is None


def test_rows_have_means_deviations_and_the_papers_numbers(grid):
    results = {
        cell: CellResult({"auc": 0.6 + cell.seed / 10, "ndcg_at_10": 0.3}, 1.0)
        for cell in grid.cells
    }
    row = next(r for r in summary_rows(grid.experiment, results) if r.variant == "none")
    assert (row.metric, row.share, row.values) == ("auc", 0.25, (0.6, 0.7))
    assert row.deviation == pytest.approx(0.1 / np.sqrt(2))
    assert (row.p_value, row.paper) == (1.0, 0.602)


@pytest.mark.parametrize(
    ("p_value", "text"), [(None, ""), (1.0, "1.000"), (0.001, "0.001"), (0.0004, "< 0.001")]
)
def test_a_small_p_is_not_printed_as_zero(p_value, text):
    row = Row("nrms", "CP", 1.0, "auc", (0.6, 0.7), p_value, None)
    assert _columns(FILE.experiment("table2"), [row])["p"](row) == text


def test_a_bar_is_drawn_with_its_whole_deviation():
    """Means that are near each other, with deviations wider than what separates them."""
    panel = Figure().subplots()
    rows = [Row("nrms", name, 1.0, "auc", values, None, None)
            for name, values in (("none", (0.4, 0.6)), ("CP", (0.51, 0.53)))]  # fmt: skip
    _draw_bars(panel, rows)
    low, high = panel.get_ylim()
    assert low < 0.5 - rows[0].deviation
    assert high > 0.5 + rows[0].deviation
    assert panel.get_xlabel() == "share of the labels"  # the paper has no mean of these


def test_a_cell_is_named_by_all_that_changes_its_figures(grid):
    cell: Cell = grid.cells[0]
    others = [
        replace(cell, seed=1),
        replace(cell, share=0.5),
        replace(cell, data="other"),
        replace(cell, finetuning=replace(cell.finetuning, steps=7)),
        replace(cell, pretraining=replace(cell.pretraining, model_id="other")),
    ]
    assert len({cell.key, *(each.key for each in others)}) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plan", "table9"], "'table9' is no experiment; choose table2, table3"),
        (["run", "table2", "--preset", "huge"], "'huge' is no preset; choose paper, small, quick"),
        (["run", "table2", "--variants", "BERT"], "names no known variant 'BERT', baseline"),
        (["plan", "figure8", "--variants", "behavior_pool=7"], "is no variant of figure8; choose"),
        (["plan", "table2", "--label-shares", "0,1"], "write numbers above 0 and at most 1"),
        (["run", "table2", "--impressions", "clicks"], "must hold one of clicks.parquet"),
    ],
)
def test_words_that_do_not_fit_are_one_line(words, message, grid, capsys):
    assert main(["experiment", *words, "--as-of", f"{DAY}"]) in (2, 4)
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[variants]\n", r"no section \[clicks.NAME\]"),
        ("=", "cannot be read"),
        (
            DEFAULT_FILE.read_text().replace('clicks = "ads"', 'clicks = "tv"', 1),
            "choose news, ads",
        ),
        (DEFAULT_FILE.read_text().replace("seeds = 5", "sedes = 5", 1), "has no setting sedes"),
    ],
)
def test_a_file_of_experiments_that_does_not_fit_says_why(text, message, tmp_path):
    path = tmp_path / "experiments.toml"
    path.write_text(text)
    with pytest.raises(BadInput, match=message):
        ExperimentFile.read(path)

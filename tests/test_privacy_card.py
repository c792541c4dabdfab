"""The privacy card: who is found again, whom a model was trained on, and what vectors say."""

import json
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from small_corpus import interests
from small_histories import SMALL_MEMORY, input_of, random_histories
from small_judge import MIDNIGHT, write_views
from small_lake import write
from small_model import DAY, save

from analyst import open_lake
from contracts.errors import BadInput
from downstream.privacy.measured_users import CardChoices, read_users
from downstream.privacy.membership import attacks_by_heads, attacks_by_losses
from downstream.privacy.privacy_card import loss_attacks, measure_privacy
from downstream.privacy.reidentification import ranks_of_own, standardized_columns, summarized_ranks
from downstream.privacy.tables import markdown_page
from model.config import PRESETS
from model.data.batches import BatchOrder
from model.forms.build_user_model import build_user_model
from model.objective.period_objective import PeriodObjective
from model.objective.tasks.periods import CutRange, Cuts
from model.storage.checkpoint import load_model
from model.training.evaluation import draw_questions, evaluate_model
from model.training.user_losses import UserLosses, losses_of_users
from spark_jobs.registry.model_card import model_card
from spark_jobs.registry.privacy_lines import read_privacy
from spark_jobs.registry.registration import model_from_folder
from userbert.cli import main

TITLE_IDS = (11, 22, 33)
NUM_USERS = 90


def test_a_place_counts_who_is_nearer_and_half_of_the_ties():
    earlier = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0], [1.0, 1.0]])
    later = np.array([[2.0, 0.1], [0.1, 1.0], [1.0, 0.0], [1.0, 1.0]])
    ranks = ranks_of_own(earlier, later)
    assert ranks.nearer.tolist() == [0, 0, 2, 0]
    assert ranks.equal.tolist() == [0, 1, 1, 0]
    assert ranks.places().tolist() == [1, 1.5, 3.5, 1]
    assert ranks.chance_within(1).tolist() == [1, 0.5, 0, 1]
    assert ranks.chance_within(3).tolist() == [1, 1, 0.5, 1]
    sparse = ranks_of_own(csr_matrix(earlier), csr_matrix(later))
    assert sparse.nearer.tolist() == ranks.nearer.tolist()
    assert sparse.equal.tolist() == ranks.equal.tolist()


def test_users_with_habits_are_found_and_strangers_are_not():
    random = np.random.default_rng(0)
    habits = random.standard_normal((300, 12))
    periods = [habits + 0.1 * random.standard_normal(habits.shape) for _ in range(2)]
    rows = np.arange(300)
    found = summarized_ranks(ranks_of_own(*periods), ("a", "cosine", "all"), rows, seed=0)
    assert found.top_1.low > 0.9
    assert found.median_rank.value == 1
    assert found.chances == (1 / 300, 10 / 300, 150.5)
    strangers = ranks_of_own(random.standard_normal((300, 12)), habits)
    found = summarized_ranks(strangers, ("a", "cosine", "all"), rows, seed=0)
    assert found.top_10.low < 10 / 300 < found.top_10.high
    assert found.median_rank.low < 150.5 < found.median_rank.high
    assert found == summarized_ranks(strangers, ("a", "cosine", "all"), rows, seed=0)


def test_standardizing_undoes_scales_and_a_constant_tells_nothing():
    random = np.random.default_rng(0)
    plain = random.standard_normal((40, 3))
    scaled = np.column_stack([plain * (1, 100, 1e-3) + 5, np.full(40, 7.0)])
    assert standardized_columns(scaled)[:, :3] == pytest.approx(standardized_columns(plain))
    assert not standardized_columns(scaled)[:, 3].any()


def test_who_was_trained_on_is_found_where_it_shows_and_nowhere_else():
    random = np.random.default_rng(0)
    was_trained = random.random(400) < 0.7
    noise = random.standard_normal((400, 6))
    linear, trees = attacks_by_heads("vectors", noise + 2 * was_trained[:, None], was_trained, 0)
    assert (linear.head, trees.head) == ("logistic", "lightgbm")
    assert min(linear.auc.low, trees.auc.low) > 0.9
    assert linear.trained + linear.held_out == 400
    for attack in attacks_by_heads("vectors", noise, was_trained, 0):
        assert attack.auc.low < 0.5 < attack.auc.high
    losses = np.column_stack([1.0 - 0.8 * was_trained, random.random(400)])
    found = attacks_by_losses(UserLosses(("a", "b"), losses, was_trained), 0)
    assert [attack.sees for attack in found] == ["loss of a", "loss of b", "sum of losses"]
    assert found[0].auc.value == 1.0
    assert found[1].auc.low < 0.5 < found[1].auc.high


def trained_model(config, given):
    torch.manual_seed(0)
    model = build_user_model(config.model, len(given.vocabulary), 0)
    return SimpleNamespace(model=model, manifest=SimpleNamespace(config=config))


def test_losses_of_users_of_a_memory_form_are_those_of_its_objective():
    given = input_of(random_histories())
    trained = trained_model(SMALL_MEMORY, given)
    found = losses_of_users(trained, given)
    assert found.tasks == ("next_period", "reconstruction")
    assert found.was_trained.sum() == 32
    assert len(found.losses) == 40

    histories = given.corpus.histories
    cuts = CutRange.of(histories)
    users = np.flatnonzero(cuts.first <= cuts.last)
    at = np.full(len(users), cuts.last * 86_400_000_000, np.int64)
    order = BatchOrder(users, 8, 0)
    objective = PeriodObjective(trained.model.eval(), given.corpus, SMALL_MEMORY, order)
    whole = Cuts(histories, users, at)
    parts = objective.loss_at(-1, whole, np.arange(len(users))).parts
    ours = objective.losses_of_users(-1, whole)
    for task in found.tasks:
        assert ours[task].mean() == pytest.approx(parts[task], rel=1e-5)


def test_losses_of_users_of_a_window_form_are_those_of_the_questions(places):
    given = interests(places)
    config = PRESETS["tiny"]
    trained = trained_model(config, given)
    found = losses_of_users(trained, given)
    assert set(found.tasks) == {"masked", "matching"}
    assert 0 < found.was_trained.sum() < len(found.was_trained)
    again = losses_of_users(trained, given)
    assert again.losses.tolist() == found.losses.tolist()
    questions = draw_questions(given.corpus, given.held_out_pairs, 1000)
    measures = evaluate_model(trained.model, questions, "test", config)
    held_out = found.losses[~found.was_trained, found.tasks.index("masked")]
    assert held_out.mean() == pytest.approx(measures["masked_loss"], rel=0.3)


def write_two_periods(places):
    """User n views title n % 3 most, in both halves of the window, and something after the day."""
    random = np.random.default_rng(0)
    views = []
    for number in range(NUM_USERS):
        titles = [*([TITLE_IDS[number % 3]] * 6), *TITLE_IDS]
        days = [-150 + number % 40, -120, -100, -60 + number % 20, -40, -30, -20, -1, 2]
        views += [
            (f"user-{number:03d}", MIDNIGHT + timedelta(days=day), int(random.choice(titles)))
            for day in days
        ]
    write_views(places, views)


@pytest.fixture
def root(places, monkeypatch):
    write_two_periods(places)
    save(places, "m1", form="memory")
    places.labels.mkdir()
    rows = "".join(f"user-{number:03d},{number % 3 // 2}\n" for number in range(NUM_USERS))
    (places.labels / "tea.csv").write_text(f"user_id,value\n{rows}")
    settings = 'kind = "binary"\nis_static = true\ndoc = "drinks tea"\nis_sensitive = true\n'
    (places.labels / "tea.toml").write_text(settings)
    (places.root / "downstream.toml").write_text("horizon_days = 3\n")
    monkeypatch.setenv("USERBERT_DOWNSTREAM", str(places.root / "downstream.toml"))
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    return places


def test_the_command_makes_a_card_that_the_models_card_repeats(root, capsys, tmp_path):
    words = ["models", "privacy", "m1", "--noise", "--epsilons", "1,4096", "--splits", "2"]
    picture = tmp_path / "noise.png"
    assert main([*words, "--json", "--picture", str(picture)]) == 0
    card = json.loads(capsys.readouterr().out)
    assert (card["model_id"], card["as_of"], card["users"]) == ("m1", str(DAY), NUM_USERS)
    assert {row["group"] for row in card["reidentified"]} == {"held out", "trained on"}
    assert {row["candidates"] for row in card["reidentified"]} == {NUM_USERS}
    assert {row["label"] for row in card["leaks"]} == {"tea"}
    assert [row["export"] for row in card["noise"]] == [
        "as they are", "clipped, no noise", "epsilon 1", "epsilon 4096",
    ]  # fmt: skip
    clean, clipped, drowned, little = card["noise"]
    assert clean["cosine"] == pytest.approx(1)
    assert drowned["cosine"] < 0.3 < little["cosine"]
    assert drowned["noise_deviation"] > 100 * little["noise_deviation"]
    assert clipped["scores"]["tea"] > 0.8
    assert picture.stat().st_size > 5000

    shown = model_card(model_from_folder(root.models / "m1"), privacy=read_privacy(root, "m1"))
    assert "## Privacy" in shown
    assert f"before among {NUM_USERS}: model, cosine |" in shown
    assert "| tea by hand-made counts, lightgbm (roc_auc) |" in shown
    assert "## Privacy" not in model_card(model_from_folder(root.models / "m1"))

    assert main(words) == 0
    text = capsys.readouterr().out
    assert "Re-identification" in text
    assert "epsilon 4096" in text
    files = sorted(path.name for path in (root.evaluations / "privacy").iterdir())
    assert files == ["m1.json", "m1.md"]
    assert "user-0" not in "".join(
        path.read_text() for path in (root.evaluations / "privacy").iterdir()
    )
    assert json.loads((root.evaluations / "privacy" / "m1.json").read_text()) == card


def test_later_views_change_nothing(root):
    def figures():
        with open_lake(root) as lake:
            return markdown_page(measure_privacy(lake, "m1", CardChoices(splits=2)))

    before = figures()
    late = MIDNIGHT + timedelta(hours=5)
    write(root, "sessions", [
        {"session_date": late.date(), "user_id": f"user-{number:03d}", "session_id": 9_000 + number,
         "start_time": late, "end_time": late, "num_views": 1, "title_ids": [33],
         "event_times": [late]}
        for number in range(NUM_USERS)
    ])  # fmt: skip
    assert figures() == before


def test_what_cannot_be_measured_is_said(root, capsys):
    assert main(["models", "privacy", "m1", "--labels", "tea", "--splits", "2"]) == 0
    assert "who were held out, there are 4, and 20" in capsys.readouterr().out
    early = ["--as-of", str(DAY - timedelta(days=1))]
    for words, message in (
        (early, "the day of the training"),
        (["--labels", "income"], "no file of labels income"),
        (["--noise", "--epsilons", "1,x"], "numbers with commas"),
        (["--noise", "--epsilons", "0"], "epsilon is 0"),
        (["--as-of", str(DAY + timedelta(days=93))], "users have views both in"),
        (["--picture", "noise.png"], "give --noise"),
    ):
        assert main(["models", "privacy", "m1", *words]) == 2, words
        assert message in capsys.readouterr().err
    assert main(["models", "privacy", "none"]) == 4


def test_a_label_is_sensitive_only_if_its_settings_say_so(root):
    settings = root.labels / "tea.toml"
    settings.write_text('kind = "binary"\nis_static = true\ndoc = "drinks tea"\n')
    with open_lake(root) as lake:
        card = measure_privacy(lake, "m1", CardChoices(splits=2))
        assert card.leaks == ()
        assert any("is_sensitive = true" in note for note in card.notes)
        settings.write_text(settings.read_text() + 'is_sensitive = "yes"\n')
        with pytest.raises(BadInput, match="is_sensitive is 'yes'"):
            measure_privacy(lake, "m1", CardChoices(splits=2))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "no sequence_pairs"),
        ({"inputs": {"sessions": 99}}, "data are gone"),
        ({"alignment": {"from": "m0"}}, "those of an aligned model are m0's"),
    ],
)
def test_losses_are_left_out_with_a_reason_where_they_cannot_be_had(root, changes, reason):
    path = root.models / "m1" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    if "inputs" in changes:
        pair = {"as_of": DAY, "user_id": "user-000"}
        write(root, "sequence_pairs", [pair])
    with open_lake(root) as lake:
        measured = read_users(lake, load_model(root.models / "m1"), CardChoices())
        assert list(loss_attacks(measured)) == []
    (note,) = measured.notes
    assert reason in note

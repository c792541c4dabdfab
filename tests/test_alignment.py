"""A model that is turned into another's space: what stays, what agrees, and what is refused."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_judge import HORIZON_DAYS, write_small_lake
from small_model import DAY, TITLES, save

from analyst import open_lake
from analyst.lake_access.registered_models import title_candidates
from contracts.errors import BadInput, GateFailed
from contracts.instants import midnight_microseconds
from contracts.vectors import SPACE_ANGLE, own_space
from downstream.alignment import AlignmentChoices, align_models, main
from downstream.judging.carried_heads import TwoModels, carried_heads
from downstream.stability import measure_stability, write_stability
from downstream.tasks.task import Task
from model.data.ragged import Ragged
from model.inference.alignment import (
    fit_and_held_out,
    fit_rotation,
    measure_agreement,
    turn_vectors,
)
from model.inference.embed_users import embed_users
from model.storage.checkpoint import BrokenCheckpoint, load_model, read_manifest, write_aligned_copy
from model.storage.checkpoint_files import ALIGNMENT_FILE, WEIGHTS_FILE
from spark_jobs.registry.model_card import model_card
from spark_jobs.registry.registration import model_from_folder
from spark_jobs.registry.stability_lines import read_stability

BLOCKS = {"activity": slice(0, 64), "preference": slice(64, 256)}


def random_rotation(width, seed=0):
    """A rotation that is drawn at random."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))[0]


def random_block_rotation():
    rotation = np.zeros((256, 256))
    for seed, block in enumerate(BLOCKS.values()):
        rotation[block, block] = random_rotation(block.stop - block.start, seed)
    return rotation


def difference(ours, theirs):
    """The largest, in shares of the largest number."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def aligned(places, name, rotation):
    folder = places.models / name
    facts = {"from": name, "to": "founder"}
    return write_aligned_copy(
        folder, places.models, torch.from_numpy(rotation), facts, space_id=own_space("founder")
    )


def embedded(folder):
    """Users, forecasts and title candidates of a model, as a night and an analyst make them."""
    trained, ids = load_model(folder), np.array(sorted(TITLES))
    words = [TITLES[each].split() for each in ids]
    sequences = Ragged.of([ids[[0]], ids[[1, 2, 2]], ids[[0, 1]]])
    midnight = midnight_microseconds(DAY)
    times = midnight - 1_000_000 * np.arange(60, 0, -10)
    users = embed_users(
        trained, sequences, ids, pa.array(words), times=times, as_of=np.full(3, midnight)
    )
    return users.vectors, users.forecasts, title_candidates(trained, ids, words)


@pytest.mark.parametrize("form", ["window", "memory"])
def test_products_lengths_and_forecasts_stay_and_vectors_are_turned(places, form):
    save(places, "m1", form=form)
    rotation = random_block_rotation()
    folder = aligned(places, "m1", rotation)
    users, forecasts, titles = embedded(places.models / "m1")
    turned_users, turned_forecasts, turned_titles = embedded(folder)
    assert difference(turned_users @ turned_titles.T, users @ titles.T) < 1e-5
    assert difference(turned_users @ turned_users.T, users @ users.T) < 1e-5
    assert difference(turned_users, users @ rotation) < 1e-5
    assert difference(turned_users, users) > 0.1
    for block in BLOCKS.values():  # a head may scale each by itself
        lengths = [np.linalg.norm(each[:, block], axis=1) for each in (users, turned_users)]
        assert lengths[0] == pytest.approx(lengths[1], rel=1e-5)
    assert (forecasts is None) == (form == "window")
    if forecasts is not None:
        assert turned_forecasts == pytest.approx(forecasts, rel=1e-5)
    own, other = (load_model(each).model for each in (places.models / "m1", folder))
    with torch.no_grad():
        pair = [
            model.matching_vectors(torch.from_numpy(vectors)).numpy()
            for model, vectors in ((own, users), (other, turned_users))
        ]
    assert difference(*pair) < 1e-5


def test_an_aligned_model_is_a_model_of_its_own_and_its_map_is_checked(places):
    save(places, "m1", form="memory")
    before = (places.models / "m1" / "manifest.json").read_bytes()
    folder = aligned(places, "m1", random_block_rotation())
    assert (places.models / "m1" / "manifest.json").read_bytes() == before
    assert aligned(places, "m1", random_block_rotation()) == folder  # the same again is the same
    manifest = read_manifest(folder)
    assert manifest.model_id == folder.name != "m1"
    assert manifest.space == own_space("founder")
    assert read_manifest(places.models / "m1").space == own_space("m1")
    assert model_from_folder(folder).space_id == own_space("founder")
    weights = [(each / WEIGHTS_FILE).read_bytes() for each in (places.models / "m1", folder)]
    assert weights[0] == weights[1]

    rotation = load_file(folder / ALIGNMENT_FILE)["rotation"]
    save_file({"rotation": 2 * rotation}, folder / ALIGNMENT_FILE)
    with pytest.raises(BrokenCheckpoint, match=f"{ALIGNMENT_FILE} has sha256"):
        load_model(folder)
    with pytest.raises(BrokenCheckpoint, match="no orthogonal map"):
        load_model(aligned(places, "m1", 2 * random_block_rotation()))


def test_a_rotation_that_was_planted_is_found_and_judged_on_other_users():
    random = np.random.default_rng(1)
    old = random.standard_normal((400, 256)).astype(np.float32)
    noise = 0.05 * random.standard_normal(old.shape)
    new = (old @ random_block_rotation().T + noise).astype(np.float32)
    fit, held_out = fit_and_held_out(len(old), seed=0)
    assert len(fit) == 320
    assert not np.intersect1d(fit, held_out).size
    rotation = fit_rotation(new[fit], old[fit], BLOCKS)
    assert rotation.tobytes() == fit_rotation(new[fit], old[fit], BLOCKS).tobytes()
    assert not rotation[:64, 64:].any()
    assert not rotation[64:, :64].any()
    assert np.abs(rotation @ rotation.T - np.eye(256)).max() < 1e-12
    found = measure_agreement(new[held_out], old[held_out], rotation, BLOCKS)
    assert found.cosine > 0.99
    assert abs(found.cosine_unaligned) < 0.1
    assert found.neighbors_kept > 0.9
    assert found.neighbors_found > 0.9
    assert found.length_ratio == pytest.approx(1, abs=0.01)
    doubled = measure_agreement(2 * new[held_out], old[held_out], rotation, BLOCKS)
    assert doubled.block_length_ratios["activity"] == pytest.approx(2, abs=0.02)
    assert doubled.cosine == pytest.approx(found.cosine)


def test_a_head_that_was_not_retrained_answers_as_before_on_aligned_vectors_alone():
    random = np.random.default_rng(2)
    old = random.standard_normal((300, 8)).astype(np.float32)
    new = (old @ random_rotation(8, 3).T).astype(np.float32)
    labels = (old[:, :1] + 0.3 * random.standard_normal((300, 1)) > 0).astype(np.float64)
    task = Task("churn", "binary", np.arange(300), labels, ("churn",), "planted")
    models = TwoModels(new, old, new, old, {})
    (found,) = carried_heads(models, np.arange(300), [task], splits=2, seed=0)
    assert found.retrained > 0.9
    assert found.loss == pytest.approx(0, abs=0.01)
    assert found.loss_unaligned > 0.1
    assert turn_vectors(new, fit_rotation(new, old, {})) == pytest.approx(old, abs=1e-5)


@pytest.fixture
def judged(places, monkeypatch):
    """Two models of a lake of 120 users."""
    write_small_lake(places)
    save(places, "old")
    save(places, "new", heads=4)
    (places.root / "downstream.toml").write_text(f"horizon_days = {HORIZON_DAYS}\n")
    monkeypatch.setenv("USERBERT_DOWNSTREAM", str(places.root / "downstream.toml"))
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    return places


def test_the_command_writes_a_model_whose_card_says_what_it_is_worth(judged, capsys):
    lake, choices = open_lake(judged), AlignmentChoices(least_cosine=-1.0, splits=1)
    found = align_models(lake, "new", "old", choices)
    assert align_models(lake, "new", "old", choices).model_id == found.model_id
    manifest = read_manifest(judged.models / found.model_id)
    assert manifest.alignment["to"] == "old"
    assert manifest.alignment["from"] == "new"
    assert manifest.measures[SPACE_ANGLE] == pytest.approx(found.agreement.angle_degrees)
    card = model_card(model_from_folder(judged.models / found.model_id))
    assert "Its vectors live in `space-old`" in card
    assert f"| {found.agreement.cosine:,.4g} |" in card
    (churn,) = (head for head in found.heads if head.task == "churn")
    assert f"| churn | {churn.retrained:.3f} | {churn.carried:.3f} |" in card
    assert "alignment_" not in card

    main("new", "none")
    assert capsys.readouterr().out.splitlines()[-1] == "new"
    main("new", "champion")  # there is none yet: it founds the first space
    assert capsys.readouterr().out.splitlines()[-1] == "new"


def test_models_that_agree_too_little_or_have_other_blocks_are_not_aligned(judged):
    lake = open_lake(judged)
    there = sorted(judged.models.iterdir())
    with pytest.raises(GateFailed, match=r"mean cosine is -?\d\.\d{3}, and 1 is needed"):
        align_models(lake, "new", "old", AlignmentChoices(least_cosine=1.0, splits=0))
    save(judged, "memory", form="memory")
    with pytest.raises(BadInput, match=r"blocks \{'activity'.*and old of 256 with none"):
        align_models(lake, "memory", "old")
    with pytest.raises(BadInput, match="aligned with itself"):
        align_models(lake, "old", "old")
    turned_already = aligned(judged, "new", np.eye(256)).name
    with pytest.raises(BadInput, match=r"is an aligned model already: align .* new"):
        align_models(lake, turned_already, "old")
    assert {path.name for path in judged.models.iterdir()} - {path.name for path in there} == {
        "memory",
        turned_already,
    }


def test_neighbors_of_who_did_nothing_stay_and_the_card_says_so(judged):
    lake = open_lake(judged)
    found = measure_stability(lake, "old", DAY + timedelta(days=2), "new")
    assert found.users == 120
    assert 20 <= found.unchanged_users < 120  # some viewed on the day before
    assert found.kept_by_unchanged == 1.0
    assert 0 < found.kept_with_one_view < 1
    assert 0 < found.kept_across_models < 1
    assert measure_stability(lake, "old", DAY, "old").kept_across_models == 1.0
    write_stability(judged, "old", found)
    stale = {"task": "churn", "stale_days": 7, "metric": "roc_auc", "mean": 0.8, "deviation": 0.01}
    card = model_card(
        model_from_folder(judged.models / "old"), (), [stale], read_stability(judged, "old")
    )
    assert "## Stability" in card
    assert "| from one night to the next, among users without a new view | 100.0% |" in card
    assert "| that another training names too (`new`) |" in card
    assert "| churn | 7 | roc_auc | 0.800 | 0.010 |" in card
    assert read_stability(judged, "new") == {}
    assert "## Stability" not in model_card(model_from_folder(judged.models / "new"))

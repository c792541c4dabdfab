import json
import pickle
from datetime import date

import pytest
import torch

from contracts.errors import MissingTable
from model.config import PRESETS
from model.data.vocabulary import Vocabulary
from model.layers.user_model import UserModel
from model.storage.checkpoint import (
    BrokenCheckpoint,
    Manifest,
    load_model,
    read_manifest,
    read_tensors,
    require_same_training,
    write_checkpoint,
)

VOCABULARY = Vocabulary(("red", "shoes"))
CONFIG = PRESETS["tiny"]


def manifest(**facts):
    return Manifest(
        **{
            "model_id": "m",
            "trained_before": date(2020, 1, 31),
            "settings": CONFIG.to_json(),
            "inputs": {"titles": 3},
            "content": "c",
            "num_words": len(VOCABULARY),
            "num_titles": 0,
            "measures": {"masked_accuracy": 0.5},
            "vocabulary_hash": VOCABULARY.sha256,
        }
        | facts
    )


@pytest.fixture
def model():
    torch.manual_seed(0)
    return UserModel(CONFIG.model, len(VOCABULARY))


@pytest.fixture
def folder(tmp_path, model):
    write_checkpoint(
        tmp_path / "m", manifest(), VOCABULARY, {"weights.safetensors": model.state_dict()}
    )
    return tmp_path / "m"


def test_a_model_comes_back_bit_for_bit_and_in_eval_mode(folder, model):
    loaded = load_model(folder)
    assert not loaded.model.training
    assert loaded.vocabulary == VOCABULARY
    assert loaded.manifest.config == CONFIG
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value)


def test_the_manifest_names_every_file_with_its_sum(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert sorted(manifest["files"]) == ["vocabulary.json", "weights.safetensors"]
    assert manifest["files"]["vocabulary.json"] == VOCABULARY.sha256


@pytest.mark.parametrize("name", ["weights.safetensors", "vocabulary.json"])
def test_a_file_that_changed_is_named_and_nothing_is_loaded(folder, name):
    with (folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(BrokenCheckpoint, match=f"{name} has sha256"):
        load_model(folder)


def test_a_file_that_is_gone_is_named(folder):
    (folder / "weights.safetensors").unlink()
    with pytest.raises(BrokenCheckpoint, match=r"weights\.safetensors is missing"):
        load_model(folder)


def test_another_vocabulary_is_refused_even_if_its_sum_fits(tmp_path, model):
    weights = {"weights.safetensors": model.state_dict()}
    write_checkpoint(tmp_path / "x", manifest(), Vocabulary(("blue", "shoes")), weights)
    with pytest.raises(BrokenCheckpoint, match="the vocabulary is another one"):
        load_model(tmp_path / "x")


def test_weights_of_another_shape_are_refused_by_name(tmp_path, model):
    weights = model.state_dict() | {"mask": torch.zeros(3)}
    write_checkpoint(tmp_path / "x", manifest(), VOCABULARY, {"weights.safetensors": weights})
    with pytest.raises(BrokenCheckpoint, match=r"does not fit the settings[\s\S]*mask"):
        load_model(tmp_path / "x")


def test_every_setting_that_differs_is_named(folder):
    other = json.loads(json.dumps(CONFIG.to_json()))
    other["seed"], other["model"]["width"] = 7, 32
    expected = manifest(settings=other, content="d")
    with pytest.raises(BrokenCheckpoint) as refused:
        require_same_training(folder, read_manifest(folder), expected)
    message = str(refused.value)
    assert "content is c, not d" in message
    assert "seed is 0, not 7" in message
    assert f"model.width is {CONFIG.model.width}, not 32" in message


class Bomb:
    def __reduce__(self):
        return (print, ("boom",))


def test_a_pickle_in_place_of_the_weights_runs_nothing(folder, capsys):
    (folder / "weights.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BrokenCheckpoint, match="has sha256"):
        load_model(folder)
    with pytest.raises(BrokenCheckpoint, match="cannot be read"):
        read_tensors(folder, "weights.safetensors")
    assert "boom" not in capsys.readouterr().out


def test_a_folder_without_a_manifest_is_no_model(tmp_path):
    with pytest.raises(MissingTable, match="holds no model"):
        read_manifest(tmp_path)


def test_a_write_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_checkpoint(tmp_path / "m", manifest(measures={"x": object()}), VOCABULARY, {})
    assert list(tmp_path.iterdir()) == []

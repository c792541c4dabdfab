"""An untrained model of width 256, for tests that want vectors and no learning."""

from datetime import date

import torch

from model.config import ModelConfig, PretrainConfig
from model.data.vocabulary import Vocabulary
from model.forms.build_user_model import build_user_model
from model.layers.encoders import reads_words
from model.storage import checkpoint, checkpoint_files

DAY = date(2026, 1, 6)
WORDS = Vocabulary(("red", "shoes", "green", "tea"))
TITLES = {11: "red shoes", 22: "green tea", 33: "tea"}


def save(places, name, **choices):
    """Write it below places.models, as a folder of its own."""
    torch.manual_seed(0)
    settings = {"behavior_encoder": "cnn", "word_width": 8, "query_width": 8, "heads": 2}
    model_config = ModelConfig(**settings | choices)
    tasks = ("next_period",) if model_config.form == "memory" else ("mbp", "bsm")
    config = PretrainConfig(model=model_config, tasks=tasks)
    has_titles = not reads_words(config.model)
    model = build_user_model(config.model, len(WORDS), len(TITLES) if has_titles else 0)
    with torch.no_grad():
        for weight, parameter in model.named_parameters():
            # No attention is nearly even; the heads of counts are small, since exp follows them.
            parameter.mul_(0.1 if weight.startswith("heads.means") else 3)
    manifest = checkpoint.Manifest(
        model_id=name,
        trained_before=DAY,
        settings=config.to_json(),
        inputs={},
        content="",
        num_words=len(WORDS),
        num_titles=len(TITLES) if has_titles else 0,
        measures={},
        vocabulary_hash=WORDS.sha256,
    )
    tensors = {checkpoint_files.WEIGHTS_FILE: model.state_dict()}
    if has_titles:
        tensors[checkpoint_files.TITLES_FILE] = {"title_ids": torch.tensor(sorted(TITLES))}
    checkpoint.write_checkpoint(places.models / name, manifest, WORDS, tensors)

"""The one place that knows which class a form of the user model is."""

from model.config import ModelConfig
from model.forms.memory_model import MemoryModel
from model.layers.user_encoder import UserEncoder
from model.layers.user_model import UserModel


def build_user_model(config: ModelConfig, num_words: int, num_titles: int = 0) -> UserEncoder:
    """An untrained model of these settings, from torch's default generator."""
    forms: dict[str, type[UserEncoder]] = {"window": UserModel, "memory": MemoryModel}
    return forms[config.form](config, num_words, num_titles)

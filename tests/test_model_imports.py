"""The folders of the model import one way, so that each can be read without those above it."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Lowest first: a module imports from its own entry and from entries before it.
MODEL_LAYERS = (
    "model.task_registry",
    "model.settings",
    "model.vector_measures",
    "model.config",
    "model.config_options",
    "model.storage.checkpoint_files",
    "model.data",
    "model.layers",
    "model.forms",
    "model.storage.checkpoint",
    "model.storage.training_record",
    "model.inference",
    "model.objective",
    "model.training",
)


def layer_of(module):
    return next(nth for nth, name in enumerate(MODEL_LAYERS) if f"{module}.".startswith(f"{name}."))


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("model."):
            yield node.module


def test_imports_between_the_folders_of_the_model_go_one_way():
    modules = [path for path in (ROOT / "model").rglob("*.py") if path.name != "__init__.py"]
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in modules
        for module in imports_of(path)
        if layer_of(module) > layer_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    ]
    assert len(modules) > 30
    assert wrong == []


def test_the_model_never_imports_what_stands_above_it():
    above = {"spark_jobs", "expectations", "feature_store", "analyst", "erasure", "pyspark"}
    for path in (ROOT / "model").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & above, path

"""The house rules: words, names, folders and imports that a reader relies on.

What still breaks a rule is listed in `tests/architecture_exceptions.txt`, one line each. The list
may only shrink: a line that is no longer needed fails the test, which names the line to delete.
`python tests/test_architecture.py` deletes all such lines.
"""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXCEPTIONS = ROOT / "tests/architecture_exceptions.txt"
GLOSSARY = ROOT / "docs/glossary.md"

# Each room, and the rooms that it may import. The tests may import every room.
ROOMS: dict[str, set[str]] = {
    "contracts": set(),
    "landing": {"contracts"},
    "expectations": {"contracts"},
    "model": {"contracts"},
    "feature_store": {"contracts"},
    "spark_jobs": {"contracts", "expectations", "model"},
    "analyst": {"contracts", "model", "spark_jobs"},  # of Spark's jobs the landing formats alone
    "erasure": {"contracts", "spark_jobs", "feature_store", "analyst"},
    "downstream": {"contracts", "expectations", "model", "spark_jobs", "analyst"},
    # Of Spark's jobs the tokenizer alone.
    "experiments": {"contracts", "model", "analyst", "downstream", "spark_jobs"},
    "explorer": {"contracts", "analyst", "downstream"},  # of the judge the files of labels alone
    "dags": {"contracts", "userbert"},
    "userbert": {
        *("contracts", "landing", "expectations", "model", "feature_store", "spark_jobs"),
        *("analyst", "erasure", "downstream", "experiments", "explorer"),
    },
    "benchmarks": {
        *("contracts", "landing", "expectations", "model", "feature_store", "spark_jobs"),
        *("analyst", "downstream", "explorer", "userbert", "tests"),
    },
}

# Inside a room: a folder may import the folders of its room that stand before it. "." stands for
# the modules that lie directly in the room.
FOLDER_ORDER: dict[str, tuple[str, ...]] = {
    "contracts": (".", "storage", "settings", "terminal"),
    "landing": (".", "synthetic"),
    "model": (
        *("settings", ".", "data", "layers", "forms", "storage", "inference"),
        *("objective/tasks", "objective"),
        "training",
    ),
    "spark_jobs": (
        *(".", "spark", "lake", "transforms", "ingest/parsing", "ingest/formats", "ingest"),
        *("ingest/first_look", "tables", "backfill", "registry"),
    ),
    "expectations": ("days", "."),
    "analyst": ("vectors", "lake_access", "output", ".", "questions"),
    "erasure": (".", "pseudonyms"),
    "downstream": ("data", "tasks", "rivals", "judging", "output", "privacy", "."),
    "experiments": (".", "data", "grid", "results"),
    "benchmarks": (".", "alignment", "encoder", "nightly", "pages", "publishing", "peers", "gpu"),
    "userbert": (
        ".",
        "scheduling",
        "scheduling/airflow_plugins",
        "launchers",
        "local",
        "report",
        "report/page",
        "doctor",
        "reference",
        "commands",
    ),
}

# Libraries that a room never imports: loading them is what its readers are spared. The one folder
# that opens Delta tables for readers without Spark may import delta-rs.
FORBIDDEN_LIBRARIES = {
    "contracts": {"pyspark", "torch", "feast", "great_expectations", "airflow", "deltalake"},
    "model": {"pyspark", "feast", "great_expectations", "airflow"},
    "dags": {"pyspark", "torch", "feast", "great_expectations"},
    "feature_store": {"torch", "great_expectations", "airflow"},
}
ALLOWED_LIBRARIES = {"contracts/storage": {"deltalake"}}

MAX_MODULES = 12
# Files that are not searched for the word: they must name it, or nobody wrote them.
UNREAD = ("docs/glossary.md", "tests/architecture_exceptions.txt", "requirements.txt")
FORBIDDEN_WORD = re.compile("(?<![a-z])to" + "ld(?![a-z])", re.IGNORECASE)


@cache
def repository_files() -> list[str]:
    """The files that git tracks, but for those that were deleted since."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for path in listed.split("\0") if (ROOT / path).is_file()]


@cache
def sources() -> dict[str, ast.Module]:
    """Each module of each room, by its path."""
    return {
        path: ast.parse((ROOT / path).read_text())
        for path in repository_files()
        if path.endswith(".py") and path.split("/")[0] in ROOMS
    }


def dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def folder_of(module: str) -> tuple[str, str]:
    """The room of a module, and its folder in the room: model.data.corpus -> ("model", "data")."""
    room, *inner = module.split(".")
    if not (ROOT / module.replace(".", "/")).is_dir():
        inner = inner[:-1]
    return room, "/".join(inner) or "."


def imported_names(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Each import: the module, and the names that are taken from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, [alias.name for alias in node.names]


def imports() -> Iterator[tuple[str, str]]:
    """Every (module, imported module); a name that is itself a module counts as that module."""
    known = {dotted(path) for path in repository_files() if path.endswith(".py")}
    for path, tree in sources().items():
        for module, names in imported_names(tree):
            submodules = [f"{module}.{name}" for name in names if f"{module}.{name}" in known]
            yield from ((dotted(path), target) for target in submodules or [module])


def may_import(importer: str, imported: str) -> bool:
    (room, folder), (other_room, other_folder) = folder_of(importer), folder_of(imported)
    if room != other_room:
        return other_room in ROOMS[room]
    order = FOLDER_ORDER.get(room, (".",))
    if folder not in order or other_folder not in order:
        return False
    return order.index(other_folder) <= order.index(folder)


def wrong_imports() -> set[str]:
    """Imports that go the wrong way between folders, and libraries that a room does without."""
    ours = {*ROOMS, "tests"}
    wrong = set()
    for importer, imported in imports():
        top, room = imported.split(".")[0], importer.split(".")[0]
        allowed = ALLOWED_LIBRARIES.get("/".join(folder_of(importer)), set())
        if top in FORBIDDEN_LIBRARIES.get(room, set()) - allowed or (
            top in ours and not may_import(importer, imported)
        ):
            wrong.add(f"import {importer} -> {imported if top in ours else top}")
    return wrong


def forbidden_words() -> set[str]:
    """Files with the word that this project uses for nothing; the glossary has better ones."""
    texts = [path for path in repository_files() if path not in UNREAD]
    return {
        f"word {path}"
        for path in texts
        if FORBIDDEN_WORD.search(path)
        or FORBIDDEN_WORD.search((ROOT / path).read_text(encoding="utf-8", errors="replace"))
    }


def glossary_words() -> set[str]:
    """The terms of docs/glossary.md that are one word, in singular and plural."""
    terms = re.findall(r"^\| \*\*([^*]+)\*\*", GLOSSARY.read_text(), re.MULTILINE)
    words = {word.strip().lower() for term in terms for word in term.split(",")}
    return words | {f"{word}s" for word in words}


def is_command(node: ast.stmt) -> bool:
    """Is this function a command, so that its name is the word that users type?"""
    return any(
        isinstance(call, ast.Attribute) and call.attr in ("command", "callback")
        for decorator in getattr(node, "decorator_list", [])
        for call in ast.walk(decorator)
    )


def public_names(tree: ast.Module) -> Iterator[str]:
    """Functions and constants of a module's top level without an underscore before them."""
    for node in tree.body:
        names: list[str] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_command(node):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [x.id for x in targets if isinstance(x, ast.Name) and x.id.isupper()]
        yield from (name for name in names if not name.startswith("_"))


def one_word_names() -> set[str]:
    allowed = glossary_words()
    return {
        f"name {dotted(path)}.{name}"
        for path, tree in sources().items()
        for name in public_names(tree)
        # A single letter is a symbol of the mathematics or a type variable.
        if len(name) > 1 and "_" not in name and name.lower() not in allowed
    }


def all_public_names(tree: ast.Module) -> Iterator[str]:
    """`public_names`, and classes and types; not `main` and what a DAG's file declares."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not is_command(node):
            yield from [node.name] if not node.name.startswith("_") else []
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            yield from (name for name in names if not name.startswith("_"))


def names_used_elsewhere(tree: ast.Module) -> Iterator[str]:
    """What a file takes from other modules: by import, by `module.name`, and by a string of it."""
    modules: dict[str, str] = {}
    for module, names in imported_names(tree):
        yield from (f"{module}.{name}" for name in names)
        modules.update((name, f"{module}.{name}") for name in names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{modules.get(node.value.id)}.{node.attr}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def full_folders() -> set[str]:
    """Folders of more than `MAX_MODULES` modules. Tests are left out: there is one a module."""
    modules = Counter(
        str(Path(path).parent) for path in sources() if not path.endswith("__init__.py")
    )
    return {f"folder {folder}" for folder, count in modules.items() if count > MAX_MODULES}


def readme_tree() -> dict[str, str]:
    """What the tree of README.md says of each path: {"docs/": "guides and decisions"}."""
    block = re.search(
        r"^## The tree$.*?```text\n(.*?)```",
        (ROOT / "README.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )
    assert block, "README.md needs a section `## The tree` with a block ```text"
    said, parents = {}, [""]
    for line in block[1].splitlines():
        name, _, phrase = line.strip().partition(" ")
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [*parents[: depth + 1], name]
        said["".join(parents)] = phrase.strip()
    return said


def missing_from_readme() -> set[str]:
    """Top-level names and second-level folders that README.md's tree has no phrase for."""
    wanted = set()
    for path in repository_files():
        top, *rest = path.split("/")
        wanted.add(f"{top}/" if rest else top)
        if len(rest) > 1 and not top.startswith("."):
            wanted.add(f"{top}/{rest[0]}/")
    said = {path for path, phrase in readme_tree().items() if " " in phrase}
    return {f"readme {path}" for path in wanted - said}


def excused(kind: str) -> set[str]:
    lines = EXCEPTIONS.read_text().splitlines()
    return {line for line in lines if line.startswith(f"{kind} ")}


RULES = {
    "word": (forbidden_words, "write the noun that docs/glossary.md has for it"),
    "name": (
        one_word_names,
        "give it a name of two words, an underscore, or a term of docs/glossary.md",
    ),
    "import": (
        wrong_imports,
        "imports go one way: ROOMS and FOLDER_ORDER in tests/test_architecture.py",
    ),
    "folder": (full_folders, f"split it by concern: a folder has at most {MAX_MODULES} modules"),
    "readme": (missing_from_readme, "add it to README.md's tree, with a phrase"),
}


@pytest.mark.parametrize("kind", RULES)
def test_the_house_rules_hold_but_for_the_listed_exceptions(kind: str) -> None:
    breaches, remedy = RULES[kind]
    new = sorted(breaches() - excused(kind))
    assert not new, f"{len(new)} new, {remedy}:\n  " + "\n  ".join(new)


@pytest.mark.parametrize("kind", RULES)
def test_the_list_of_exceptions_only_shrinks(kind: str) -> None:
    done = sorted(excused(kind) - RULES[kind][0]())
    assert not done, f"delete from {EXCEPTIONS.relative_to(ROOT)}:\n  " + "\n  ".join(done)


def test_every_exception_is_of_a_rule() -> None:
    lines = [line for line in EXCEPTIONS.read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if line.split(" ")[0] not in RULES] == []
    assert lines == sorted(set(lines))


def test_at_most_a_tenth_of_the_public_names_is_imported_by_nobody() -> None:
    """What only its own module uses has an underscore; results of public functions need none."""
    tests = [path for path in repository_files() if re.match(r"tests/.*\.py$", path)]
    trees = [*sources().values(), *(ast.parse((ROOT / path).read_text()) for path in tests)]
    used = {name for tree in trees for name in names_used_elsewhere(tree)}
    public = [
        f"{dotted(path)}.{name}"
        for path, tree in sources().items()
        if path.split("/")[0] not in ("dags", "benchmarks")
        for name in all_public_names(tree)
        if name not in ("main", "app")
    ]
    unused = sorted(set(public) - used)
    assert len(unused) <= len(public) / 10, f"{len(unused)} of {len(public)}:\n  " + "\n  ".join(
        unused
    )


def test_readmes_tree_names_only_what_is_there() -> None:
    assert [path for path in readme_tree() if not (ROOT / path).exists()] == []


def test_the_order_of_folders_names_every_folder_with_modules() -> None:
    folders = {folder_of(dotted(path)) for path in sources() if not path.endswith("__init__.py")}
    declared = {(room, f) for room in ROOMS for f in FOLDER_ORDER.get(room, (".",))}
    assert sorted(folders - declared) == []


def delete_needless_exceptions() -> None:
    needed = set().union(*(breaches() for breaches, _ in RULES.values()))
    lines = EXCEPTIONS.read_text().splitlines(keepends=True)
    EXCEPTIONS.write_text("".join(x for x in lines if x.startswith("#") or x.rstrip() in needed))


if __name__ == "__main__":
    delete_needless_exceptions()

"""The vectors of a day as one file: Parquet, CSV or NumPy; or as a folder for TensorBoard.

userbert export --as-of 2017-07-01 --format parquet --out vectors.parquet [--fp16] [--with-counts]

The file says which model and day it is of and how many rows it has: in Parquet's key-value
metadata, in `metadata` of an npz, in the first line of a CSV (`pandas.read_csv(F, skiprows=1)`).
It is there whole, or not there. Next to a vector stand the user's forecasts, where the model makes
any; and with --with-counts the numbers that heads are usually given, computed from the views before
the day: recency, frequency, sessions, hours, and views by title word (the names begin with past_).

--private --epsilon 64 cuts and blurs each vector: the file then tells little of what
one user's vector was, and FILE.privacy.json beside it says how little, and what is not promised.
Forecasts and counts are left out. docs/privacy.md has what it costs.

--format projector writes a new folder for TensorBoard's projector: the numbers that stand next to a
vector become what users are colored and searched by. `tensorboard --logdir FOLDER` shows it, and
`tensorboard --logdir_spec curves:data/models,users:FOLDER` next to the curves of the trainings.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from analyst.lake_access.open_lake import open_lake
from analyst.lake_access.registered_models import blocks_of
from analyst.lake_access.user_numbers import UserNumbers, past_counts, user_forecasts
from analyst.output.answers import print_answer
from analyst.output.private_manifest import PrivateManifest, made_private
from analyst.vectors.model_space import Vectors, row_slices
from analyst.vectors.private_noise import PrivacySettings
from contracts.errors import BadInput
from contracts.provenance import code_version
from contracts.storage.atomic_write import atomic_file, atomic_folder
from contracts.tables import MODELS
from contracts.terminal.options import AsOfOrNewest, ModelOrChampion
from contracts.vectors import describe_blocks


@dataclass(frozen=True)
class Metadata:
    """What a file says about itself."""

    model_id: str
    as_of: str
    rows: int
    width: int
    dtype: str
    table: str
    table_version: int
    code: str
    blocks: str  # which floats are the activity block, and which preference; empty without blocks

    def text(self) -> dict[str, str]:
        return {f"userbert.{name}": str(value) for name, value in asdict(self).items()}


def export(
    vectors: Vectors, path: Path, format: str, metadata: Metadata, numbers: UserNumbers
) -> None:
    """Write `path` in one rename. Rows go by user_id, so equal vectors give equal bytes."""
    if format not in _WRITERS:
        raise BadInput(f"--format {format}: say one of {', '.join(_WRITERS)}")
    if metadata.dtype == "float16":
        _must_fit_in_half(vectors)
    if not path.parent.is_dir():
        raise BadInput(f"--out {path}: there is no folder {path.parent}")
    if format == _PROJECTOR and path.exists():
        raise BadInput(f"--out {path} is there already: name a folder that is not")
    write_whole = atomic_folder if format == _PROJECTOR else atomic_file
    with write_whole(path) as partial:
        _WRITERS[format](vectors, partial, metadata, numbers)


def _must_fit_in_half(vectors: Vectors) -> None:
    largest = max((float(np.abs(block).max()) for _, block in _matrix_blocks(vectors)), default=0.0)
    if largest > float(np.finfo(np.float16).max):
        raise BadInput(f"--fp16 holds no number above 65504, and the vectors have {largest:.6g}")


def _write_parquet(vectors: Vectors, path: Path, metadata: Metadata, numbers: UserNumbers) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number: Any = pa.float16() if metadata.dtype == "float16" else pa.float32()
    fields: list[Any] = [
        pa.field("user_id", pa.string(), False),
        pa.field("as_of", pa.date32(), False),
        pa.field("embedding", pa.list_(number), False),
        *(pa.field(name, pa.float32()) for name in numbers.names),
    ]
    schema = pa.schema(fields).with_metadata({**metadata.text()})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows, block in _matrix_blocks(vectors):
            flat: Any = pa.array(block.ravel().astype(metadata.dtype))
            starts: Any = np.arange(0, block.size + 1, block.shape[1], dtype=np.int32)
            columns: list[Any] = [
                pa.array(vectors.user_ids[rows].tolist(), pa.string()),
                pa.array(vectors.days[rows]),
                pa.ListArray.from_arrays(pa.array(starts), flat),
                *(pa.array(each, from_pandas=True) for each in numbers.matrix[rows].T),  # NaN: null
            ]
            writer.write_table(pa.table(columns, schema=schema))


def _write_csv(vectors: Vectors, path: Path, metadata: Metadata, numbers: UserNumbers) -> None:
    import pandas as pd

    facts = " ".join(f"{name}={value}" for name, value in asdict(metadata).items())
    names = [f"e{place}" for place in range(metadata.width)]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# userbert {facts}\n")
        for rows, block in _matrix_blocks(vectors):
            frame = pd.DataFrame(block.astype(metadata.dtype), columns=names)
            frame.insert(0, "as_of", vectors.days[rows].astype(str))
            frame.insert(0, "user_id", vectors.user_ids[rows])
            more = pd.DataFrame(numbers.matrix[rows], columns=list(numbers.names))
            frame = pd.concat([frame, more], axis=1)
            frame.to_csv(file, index=False, header=rows.start == 0)


def _write_npz(vectors: Vectors, path: Path, metadata: Metadata, numbers: UserNumbers) -> None:
    """`user_ids` (N,) text, `as_of` (N,) days, `embeddings` (N, D), `metadata` as JSON.

    Where there are forecasts or counts: `numbers` (N, C), and their `number_names` (C,).
    """
    more: dict[str, Any] = {"number_names": np.array(numbers.names), "numbers": numbers.matrix}
    with path.open("wb") as file:
        np.savez(
            file,
            user_ids=vectors.user_ids,
            as_of=vectors.days,
            embeddings=vectors.matrix.astype(metadata.dtype, copy=False),
            metadata=np.array(json.dumps(asdict(metadata), sort_keys=True)),
            **(more if numbers.names else {}),
        )


def _write_projector(
    vectors: Vectors, folder: Path, metadata: Metadata, numbers: UserNumbers
) -> None:
    """A line a user in both files, and the configuration that names them.

    TensorBoard knows no quotes, so a user_id with a tab or a line break has a blank in its place.
    """
    with (folder / "vectors.tsv").open("w", encoding="utf-8") as file:
        for _, block in _matrix_blocks(vectors):
            np.savetxt(file, block.astype(metadata.dtype), fmt="%.6g", delimiter="\t")
    with (folder / "metadata.tsv").open("w", encoding="utf-8") as file:
        file.write("\t".join(["user_id", "vector_of", *map(_one_line, numbers.names)]) + "\n")
        days = vectors.days.astype(str).tolist()
        for user, day, values in zip(vectors.user_ids, days, numbers.matrix, strict=True):
            texts = ["" if np.isnan(value) else f"{value:g}" for value in values]
            file.write("\t".join([_one_line(user), day, *texts]) + "\n")
    (folder / "projector_config.pbtxt").write_text(
        f"embeddings {{\n  tensor_name: {json.dumps(f'users of {metadata.model_id}')}\n"
        '  tensor_path: "vectors.tsv"\n  metadata_path: "metadata.tsv"\n}\n'
    )


def _one_line(text: str) -> str:
    return " ".join(text.split()) or "-"


_PROJECTOR = "projector"
_WRITERS: dict[str, Callable[[Vectors, Path, Metadata, UserNumbers], None]] = {
    "parquet": _write_parquet,
    "csv": _write_csv,
    "npz": _write_npz,
    _PROJECTOR: _write_projector,
}


def _matrix_blocks(vectors: Vectors) -> Iterator[tuple[slice, Any]]:
    for rows in row_slices(len(vectors)):
        yield rows, vectors.matrix[rows]


def main(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The file to write; or the new folder.")
    ],
    as_of: AsOfOrNewest = None,
    model: ModelOrChampion = None,
    format: Annotated[
        Literal["parquet", "csv", "npz", "projector"],
        typer.Option("--format", help="The format of the file, or TensorBoard's projector."),
    ] = "parquet",
    fp16: Annotated[
        bool, typer.Option("--fp16", help="Write half precision, in half the size.")
    ] = False,
    json_summary: Annotated[
        bool, typer.Option("--json", help="Print what the file says about itself as JSON.")
    ] = False,
    with_counts: Annotated[
        bool,
        typer.Option(
            "--with-counts",
            help="Add counts of each user's views before the day, so that a head can have both.",
        ),
    ] = False,
    private: Annotated[
        bool,
        typer.Option("--private", help="Cut the vectors' lengths and add noise, by --epsilon."),
    ] = False,
    epsilon: Annotated[
        float | None,
        typer.Option("--epsilon", help="Of a private export: the lower, the more noise."),
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option("--delta", help="Of a private export. [default: 0.000001]"),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(
            "--clip", help="The length of a private export's longest vectors. [default: 1]"
        ),
    ] = None,
    round_to: Annotated[
        float | None,
        typer.Option("--round-to", help="Make a private export's numbers multiples of this one."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="For tests alone: noise that can be taken off again."),
    ] = None,
) -> None:
    settings = _privacy_settings(private, with_counts, seed, epsilon=epsilon, delta=delta,
                                 clip=clip, round_to=round_to)  # fmt: skip
    manifest: PrivateManifest | None = None
    with open_lake() as lake:
        found = lake.snapshot(model, as_of)
        vectors = found.vectors
        blocks = blocks_of(lake, vectors.model_id) if lake.has(MODELS) else {}
        if settings:
            numbers = UserNumbers.none(len(vectors))
            vectors, manifest = made_private(vectors, settings, seed)
        else:
            numbers = user_forecasts(lake, vectors, model)
        if with_counts:
            numbers = numbers.joined(past_counts(lake, vectors))
    metadata = Metadata(
        vectors.model_id,
        str(vectors.as_of),
        len(vectors),
        vectors.matrix.shape[1],
        "float16" if fp16 else "float32",
        found.table,
        found.version,
        code_version(),
        describe_blocks(blocks),
    )
    export(vectors, out, format, metadata, numbers)
    if manifest:
        manifest.write(out)
    summary = f"{out}: {len(vectors):,} vectors of {vectors.model_id} as of {vectors.as_of}"
    if numbers.names:
        summary += f", {len(numbers.names)} numbers beside each"
    files = list(out.glob("*")) if out.is_dir() else [out]
    size = sum(file.stat().st_size for file in files) / 1e6
    print_answer(metadata, json_summary, f"{summary}, {size:,.1f} MB")


def _privacy_settings(
    private: bool, with_counts: bool, seed: int | None, **choices: float | None
) -> PrivacySettings | None:
    """None where the export is not private."""
    given = {name: value for name, value in choices.items() if value is not None}
    if not private:
        if given or seed is not None:
            name = next(iter([*given, "seed"])).replace("_", "-")
            raise BadInput(f"--{name} is of a private export: say --private, too")
        return None
    if "epsilon" not in given:
        raise BadInput("--private needs --epsilon: `userbert models privacy --noise` shows prices")
    if with_counts:
        raise BadInput("--with-counts would say without noise what --private hides: leave one out")
    if seed is not None:
        sys.stderr.write(
            "warning: --seed makes the noise repeatable, so whoever guesses the seed takes it off: "
            "give this file to nobody\n"
        )
    return PrivacySettings(**given)

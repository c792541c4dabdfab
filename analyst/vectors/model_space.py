"""Users' vectors of one model, which will not be mixed with those of another."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from contracts.errors import BadInput, MissingTable
from contracts.terminal.html_table import html_table
from contracts.vectors import own_space

Matrix = NDArray[np.float32]
BLOCK_ROWS = 32_768  # of 256 floats: 32 MB
_MAX_NAMED = 5  # users that an error names; the others are counted


class TwoModels(BadInput):
    """Somebody compares vectors of two models as if they were of one."""


class TwoSpaces(TwoModels):
    """The models are of two spaces, too, and a distance between those means nothing."""


@dataclass(frozen=True, eq=False)
class Vectors(NDArrayOperatorsMixin):
    """Each user's newest vector under one model as of one day.

        lake.embeddings()["42"]                       # one user's vector, (256,)
        old.cosine(new)                               # how alike two days' vectors of each user are
        np.vstack([old, new])                         # works, and raises for two models

    Numpy's functions take a `Vectors` as its matrix, after a check that all those in the call are
    of one model. `matrix` itself is a plain array, which nothing guards.

    Shapes: N users, D width.
        user_ids  (N,) text, ascending
        days      (N,) datetime64[D], the as_of of each user's row: as_of or earlier
        matrix    (N, D) float32, as the table has it; often memory-mapped and read-only
    """

    model_id: str
    as_of: date
    user_ids: NDArray[np.str_]
    days: NDArray[np.datetime64]
    matrix: Matrix
    space_id: str = ""  # empty: the model's own

    def __post_init__(self) -> None:
        object.__setattr__(self, "space_id", self.space_id or own_space(self.model_id))

    @cached_property
    def norms(self) -> NDArray[np.float32]:
        """(N,) float32, each above 0."""
        return row_lengths(self.matrix)

    def __len__(self) -> int:
        return len(self.user_ids)

    def __repr__(self) -> str:
        return f"Vectors({len(self):,} users of {self.model_id}, as of {self.as_of})"

    def _repr_html_(self) -> str:
        """How a notebook shows it: facts, and the first users."""
        facts = {
            "users": f"{len(self):,}",
            "width": self.matrix.shape[1],
            "model": self.model_id,
            "as of": self.as_of,
            "space": self.space_id,
            "first users": ", ".join(self.user_ids[:_MAX_NAMED].tolist()),
        }
        return html_table([("Vectors", ""), *facts.items()])

    def __contains__(self, user: object) -> bool:
        return isinstance(user, str) and bool(self._found([user])[1][0])

    def __getitem__(self, user: str) -> Matrix:
        """(D,) the vector of `user`."""
        vector: Matrix = self.matrix[self.rows([user])[0]]
        return vector

    def rows(self, users: Sequence[str]) -> NDArray[np.int64]:
        """Where these users are in `matrix`; `MissingTable` names those that have no vector."""
        places, there = self._found(users)
        if not there.all():
            lost = [user for user, found in zip(users, there, strict=True) if not found]
            more = f" and {len(lost) - _MAX_NAMED} more" if len(lost) > _MAX_NAMED else ""
            raise MissingTable(
                f"no vector of {', '.join(lost[:_MAX_NAMED])}{more} under {self.model_id} as of "
                f"{self.as_of}: `userbert coverage --as-of {self.as_of} --users ...` says why"
            )
        return places

    def _found(self, users: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        wanted = np.asarray(users, np.str_)  # (M,)
        places = np.searchsorted(self.user_ids, wanted)  # (M,); N for whoever comes after all
        inside = np.minimum(places, len(self) - 1)
        return inside, self.user_ids[inside] == wanted

    def take(self, users: Iterable[str]) -> "Vectors":
        """These users alone, in ascending order."""
        return self.at(self.rows(sorted(set(users))))

    def at(self, rows: NDArray[Any]) -> "Vectors":
        """These ascending rows alone."""
        facts = self.user_ids[rows], self.days[rows], self.matrix[rows]
        return Vectors(self.model_id, self.as_of, *facts, self.space_id)

    def shared(self, other: "Vectors") -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows here and there, (M,) each, of the users who are in both."""
        _must_be_of_one_model(self, other)
        _, mine, theirs = np.intersect1d(
            self.user_ids, other.user_ids, assume_unique=True, return_indices=True
        )
        return mine, theirs

    def aligned(self, other: "Vectors") -> tuple["Vectors", "Vectors"]:
        """Both for the users who are in both, row beside row."""
        mine, theirs = self.shared(other)
        return self.at(mine), other.at(theirs)

    def cosine(self, other: "Vectors") -> NDArray[np.float64]:
        """(M,) for each user who is in both, by user_id: 1 where the direction is the same."""
        mine, theirs = self.shared(other)
        dots = np.empty(len(mine), np.float64)  # (M,)
        for part in row_slices(len(mine)):
            pair = self.matrix[mine[part]], other.matrix[theirs[part]]
            dots[part] = np.einsum("nd,nd->n", *pair, dtype=np.float64)
        cosine: NDArray[np.float64] = dots / (
            self.norms[mine].astype(np.float64) * other.norms[theirs]
        )
        return cosine.clip(-1, 1)

    def mean_direction(self) -> NDArray[np.float64]:
        """(D,) the mean of the unit vectors: a long vector counts no more than a short one."""
        # (D, N of the block) @ (N of the block,) -> (D,): no unit vector is ever stored.
        blocks = [self.matrix[part].T @ (1 / self.norms[part]) for part in row_slices(len(self))]
        total: NDArray[np.float64] = np.sum(blocks, axis=0, dtype=np.float64)
        return total / len(self)

    def units(self) -> Matrix:
        """(N, D) float32 of length 1."""
        scaled: Matrix = self.matrix / self.norms[:, None]
        return scaled

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.matrix, dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        _must_be_the_same_users(inputs)
        return getattr(ufunc, method)(*map(_plain, inputs), **named)

    def __array_function__(self, function: Any, types: Any, args: Any, named: Any) -> Any:
        _must_be_of_one_model(*_vectors_in((args, list(named.values()))))
        return function(*_plain(args), **{name: _plain(value) for name, value in named.items()})


def row_slices(rows: int, size: int = BLOCK_ROWS) -> Iterator[slice]:
    """Slices of up to `size` rows, so that no step holds a second copy of a matrix."""
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def row_lengths(matrix: Matrix) -> NDArray[np.float32]:
    """(N,) Euclidean length of each row."""
    # (N, D) -> (N,), without a second matrix
    squares = np.einsum("nd,nd->n", matrix, matrix, dtype=np.float64)
    norms: NDArray[np.float32] = np.sqrt(squares).astype(np.float32)
    return norms


def must_share_a_space(*compared: Vectors) -> None:
    """Raise `TwoSpaces` unless all are of one space, whatever their models are."""
    spaces = {vectors.space_id for vectors in compared}
    if len(spaces) > 1:
        models = sorted({vectors.model_id for vectors in compared})
        days = sorted({vectors.as_of for vectors in compared})
        raise TwoSpaces(
            f"vectors of {' and '.join(models)} live in different spaces: each training makes one "
            "of its own, so a distance, a sum or a stack across them means nothing. Either\n"
            f"  re-embed under one model: userbert backfill plan --model {models[0]} "
            f"--from {days[0]} --to {days[-1]}, then `backfill run`, and open those; or\n"
            "  compare what each model says of the users: analyst.vectors.search."
            "neighbors_kept_between(a, b), or a downstream task's results under each"
        )


def _must_be_of_one_model(*compared: Vectors) -> None:
    """Raise `TwoModels`, or of two spaces `TwoSpaces`, unless all are of one model."""
    must_share_a_space(*compared)
    models = sorted({vectors.model_id for vectors in compared})
    if len(models) > 1:
        raise TwoModels(
            f"vectors of {' and '.join(models)} are of one space, {compared[0].space_id}, but not "
            "of one model: what lies between them is the error of the alignment, too. "
            "analyst.questions.across_models.compare_across_models(lake, old, new, "
            "expected_error=...) compares them, and names that error"
        )


def _must_be_the_same_users(inputs: Sequence[Any]) -> None:
    found = [value for value in inputs if isinstance(value, Vectors)]
    _must_be_of_one_model(*found)
    # row n of each must be the same user
    if any(not np.array_equal(found[0].user_ids, each.user_ids) for each in found[1:]):
        raise BadInput(
            "these vectors are not of the same users, so their rows do not belong together: "
            "align them first, `a, b = a.aligned(b)`"
        )


def _vectors_in(value: Any) -> Iterator[Vectors]:
    if isinstance(value, Vectors):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _vectors_in(item)


def _plain(value: Any) -> Any:
    """`value` with the matrix in the place of each `Vectors`, in lists and tuples too."""
    if isinstance(value, Vectors):
        return value.matrix  # numpy sees the matrix, after the spaces were compared
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    return value

"""The titles that weigh most in a user's vector.

userbert explain 13 --as-of 2017-07-01 [-k 10]
userbert explain 13 --each-view                (single views, not summed by title)

`weight` is the aggregator's attention: how much of the vector is the state at that view. A state
has seen the views around it, so `moves` stands beside it: the cosine distance between the vector
and the one that the model makes without the view, or without all views of the title. The model is
run again on the stored sequence, and the answer says how near that comes to the stored vector.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake, open_lake
from analyst.lake_access.registered_models import load_registered_model
from analyst.lake_access.viewed_titles import written_titles
from analyst.output.answers import Listing, print_answer
from contracts.errors import BadInput, MissingTable
from contracts.instants import midnight_microseconds
from contracts.settings.pseudonyms import ids_as_stored
from contracts.tables import TITLES, USER_SEQUENCES
from contracts.terminal.options import ArePseudonyms, AsCsv, AsJson, AsOfOrNewest, ModelOrChampion

if TYPE_CHECKING:
    from model.storage.checkpoint import TrainedModel

_DECAYED_SUMS = "decayed sums"  # what weighs the views in the memory form
_SAME_COSINE = 0.999  # cosine; the other users of a batch move a vector by 1e-6


@dataclass(frozen=True)
class View:
    title: str
    viewed_at: datetime  # UTC
    weight: float  # the weights of all the user's views sum to one
    moves: float | None  # cosine distance; None for a user's only view


@dataclass(frozen=True)
class ViewedTitle:
    """All views of one title."""

    title: str
    written: str  # as most lines of the logs have it; empty where no line is at hand
    views: int
    last_viewed_at: datetime  # UTC
    weight: float  # summed over the views
    moves: float | None  # cosine distance without any of them; None where nothing else is left


@dataclass(frozen=True)
class Explanation:
    user_id: str
    model_id: str
    as_of: date
    vector_of: date  # as_of of the vector that is explained
    aggregator: str  # what weighs the views
    num_views: int  # that the model reads, the newest
    unknown_titles: int  # views left out because their title is not in `titles`
    cosine_to_stored: float  # between the vector made again and the stored one
    views: list[View]  # heaviest first; of equal ones the newer
    titles: list[ViewedTitle]  # heaviest first, ties by title

    @property
    def is_the_stored_vector(self) -> bool:
        return self.cosine_to_stored >= _SAME_COSINE


@dataclass(frozen=True)
class Sequence:
    """What was embedded, oldest first."""

    titles: list[str]
    title_ids: NDArray[np.int64]
    words: list[list[str]]
    times: list[datetime]
    micros: NDArray[np.int64]  # the times, in microseconds since 1970 UTC

    def newest(self, limit: int | None) -> "Sequence":
        """The newest `limit` views, which are all that the model reads; None: all."""
        keep = slice(-limit if limit else None, None)
        return Sequence(
            self.titles[keep],
            self.title_ids[keep],
            self.words[keep],
            self.times[keep],
            self.micros[keep],
        )


@dataclass(frozen=True)
class WeighedViews:
    """Shapes: L views of a sequence, of which k are looked at, D width.

    weights  (L,) of all views, which sum to one
    places   (k,) of the heaviest views; of equal ones the newer comes first
    moves    (k,) cosine distance between the vector and the one without the view; None: one view
    vector   (D,) the user's
    titles   the k heaviest titles: places of their views, and the cosine distance without them
    """

    weights: NDArray[np.float64]
    places: NDArray[np.int64]
    moves: NDArray[np.float64] | None
    vector: NDArray[np.float64]
    titles: list[tuple[NDArray[np.int64], float | None]]


def explain_vector(
    lake: OpenLake, user: str, k: int = 10, model_id: str | None = None, as_of: date | None = None
) -> Explanation:
    if k < 1:
        raise BadInput(f"-k is {k}: ask for one view or more")
    lake.need(USER_SEQUENCES, TITLES)
    vectors = lake.embeddings(model_id, as_of)
    row = vectors.rows([user])[0]
    day: date = vectors.days[row].item()
    history, unknown = read_sequence(lake, user, day)
    trained = load_registered_model(lake, vectors.model_id)
    config, sequence = trained.model.config, history.newest(trained.model.max_views)
    weighed = weigh_views(trained, sequence, day, k)
    stored = vectors.matrix[row].astype(np.float64)
    return Explanation(
        user,
        vectors.model_id,
        vectors.as_of,
        day,
        config.aggregator if config.form == "window" else _DECAYED_SUMS,
        len(sequence.titles),
        unknown,
        float(_cosine_to(weighed.vector, stored)),
        [
            View(
                sequence.titles[place],
                sequence.times[place],
                float(weighed.weights[place]),
                None if weighed.moves is None else float(weighed.moves[nth]),
            )
            for nth, place in enumerate(weighed.places)
        ],
        _viewed_titles(lake, sequence, weighed),
    )


def _viewed_titles(lake: OpenLake, sequence: Sequence, weighed: WeighedViews) -> list[ViewedTitle]:
    written = written_titles(lake, {sequence.titles[places[0]] for places, _ in weighed.titles})
    return [
        ViewedTitle(
            sequence.titles[places[0]],
            written.get(sequence.titles[places[0]], ""),
            len(places),
            sequence.times[places[-1]],
            float(weighed.weights[places].sum()),
            moves,
        )
        for places, moves in weighed.titles
    ]


def read_sequence(lake: OpenLake, user: str, day: date) -> tuple[Sequence, int]:
    """The sequence behind the vector of `day`, and how many of its views have no title."""
    rows = lake.connection.execute(
        """SELECT title_id, title, words, event_time, epoch_us(event_time)
        FROM (
            SELECT unnest(title_ids) AS title_id, unnest(event_times) AS event_time,
                unnest(range(num_views)) AS place
            FROM user_sequences WHERE user_id = $user AND as_of = $day
        ) LEFT JOIN titles USING (title_id) ORDER BY place""",
        {"user": user, "day": day},
    ).fetchall()
    known = [row for row in rows if row[1] is not None]
    if not known:
        raise MissingTable(
            f"user_sequences has no views of {user} as of {day} whose titles are known: "
            f"`userbert user-sequences --as-of {day}` and `userbert titles` make them"
        )
    ids, titles, words, times, micros = zip(*known, strict=True)
    sequence = Sequence(
        list(titles),
        np.array(ids, np.int64),
        list(words),
        list(times),
        np.array(micros, np.int64),
    )
    return sequence, len(rows) - len(known)


def weigh_views(
    trained: "TrainedModel", sequence: Sequence, day: date, k: int | None = None
) -> WeighedViews:
    """The vector of `sequence` as of `day`, and its `k` heaviest views; None: all."""
    import pyarrow as pa
    import torch

    from model.data.ragged import Ragged
    from model.inference.embed_users import encoder_input
    from model.inference.vectors import evaluation_mode, title_vectors, to_numpy, user_vectors
    from model.layers.packed_histories import PackedHistories

    model, length = trained.model, len(sequence.titles)
    words: Any = pa.array(sequence.words, pa.list_(pa.string()))
    titles = title_vectors(model, encoder_input(trained, sequence.title_ids, words))
    as_of = np.array([midnight_microseconds(day)])  # (1,)
    with evaluation_mode(model):
        when = [torch.from_numpy(each).to(model.device) for each in (sequence.micros, as_of)]
        history = PackedHistories(titles, torch.tensor([length]), *when)
        weights = model.view_weights(history).double().cpu().numpy()
    places = np.lexsort((-np.arange(length), -weights))[:k]
    by_title = _heaviest_titles(sequence, weights)[:k]
    every = np.arange(length)
    # Each row is the sequence, all but the first less one view, or less all views of a title.
    left_out = [places[nth : nth + 1] for nth in range(len(places))] if length > 1 else []
    left_out += [each for each in by_title if len(each) < length]
    rows = Ragged.of([every, *(np.delete(every, each) for each in left_out)])
    vectors = to_numpy(
        user_vectors(
            model, titles, rows, times=sequence.micros[rows.values], as_of=as_of.repeat(len(rows))
        )
    ).astype(np.float64)
    moves = 1 - _cosine_to(vectors[1:], vectors[0])  # (k + titles,)
    of_views = moves[: len(places)] if length > 1 else None
    of_titles = iter(moves[len(places) :].tolist() if length > 1 else ())
    of_title = [(each, next(of_titles) if len(each) < length else None) for each in by_title]
    return WeighedViews(weights, places, of_views, vectors[0], of_title)


def _heaviest_titles(sequence: Sequence, weights: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """The places of each title's views, oldest first; the heaviest title first, ties by title."""
    places: dict[str, list[int]] = {}
    for place, title in enumerate(sequence.titles):
        places.setdefault(title, []).append(place)
    sums = {title: round(float(weights[each].sum()), 12) for title, each in places.items()}
    order = sorted(places, key=lambda title: (-sums[title], title))
    return [np.array(places[title], np.int64) for title in order]


def _weighing(aggregator: str) -> str:
    return aggregator if aggregator == _DECAYED_SUMS else f"{aggregator} aggregator"


def _cosine_to(vectors: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(vectors, axis=-1) * np.linalg.norm(other)
    result: NDArray[np.float64] = vectors @ other / norms
    return result.clip(-1, 1)


def main(
    user: Annotated[str, typer.Argument(metavar="USER", help="The id of the user.")],
    k: Annotated[int, typer.Option("-k", help="How many titles or views to show.")] = 10,
    each_view: Annotated[
        bool, typer.Option("--each-view", help="Show single views, not summed by title.")
    ] = False,
    as_of: AsOfOrNewest = None,
    model: ModelOrChampion = None,
    pseudonyms: ArePseudonyms = False,
    json: AsJson = False,
    csv: AsCsv = False,
) -> None:
    (user,) = ids_as_stored([user], pseudonyms)
    with open_lake() as lake:
        found = explain_vector(lake, user, k, model, as_of)
    parts = [
        f"{user}: {found.num_views} views read for the vector of {found.vector_of} under "
        f"{found.model_id}, weighed by its {_weighing(found.aggregator)}"
    ]
    if not found.is_the_stored_vector:
        parts.append(
            f"CAUTION: made again, the vector has a cosine of {found.cosine_to_stored:.4f} to the "
            "stored one: the sequence, the titles or the model are not what they were"
        )
    listing = _views_listing(found) if each_view else _titles_listing(found)
    print_answer(found, json, *parts, listing, csv=listing if csv else None)


def _views_listing(found: Explanation) -> Listing:
    rows = [(v.title, f"{v.viewed_at:%Y-%m-%d %H:%M}", v.weight, v.moves) for v in found.views]
    return Listing(rows, ("title", "viewed at (UTC)", "#weight", "#moves"))


def _titles_listing(found: Explanation) -> Listing:
    rows = [
        (t.title, t.written, t.views, f"{t.last_viewed_at:%Y-%m-%d %H:%M}", t.weight, t.moves)
        for t in found.titles
    ]
    columns = ("title", "as written", "#views", "last viewed (UTC)", "#weight", "#moves")
    return Listing(rows, columns)

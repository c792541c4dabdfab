"""What a user will do next: the model's forecasts, and the propensity for a title, word or host.

userbert forecast 13 46                       the forecasts of two users
userbert forecast --by views_28_days -k 20    the users with the highest of one forecast
userbert forecast --word milk -k 20           who is most likely to view titles with this word next
userbert forecast --title "Fresh milk" 13     how likely this user is to view this title next
userbert forecast --host shop.example --all --csv > scores.csv

A forecast is of the day of the user's vector. The product of a user's vector with that of a title
is the logit of a view of it; their softmax over the most viewed titles is the share of the user's
next views that goes to the titles asked for. With the forecast of views it gives the views of them
that are expected in 28 days, and the chance of one. No labels are needed.
"""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake, open_lake
from analyst.lake_access.registered_models import load_registered_model, title_candidates
from analyst.lake_access.user_numbers import user_forecasts
from analyst.output.answers import print_answer, print_csv
from analyst.vectors.model_space import Vectors, row_slices
from contracts.errors import BadInput, MissingTable
from contracts.forecasts import FORECAST_DAYS, FORECAST_NAMES
from contracts.settings.pseudonyms import ids_as_stored
from contracts.tables import BROWSING_LOGS, TITLES
from contracts.terminal.options import (
    ArePseudonyms,
    AsCsv,
    AsJson,
    AsOfOrNewest,
    ModelOrChampion,
    UserFile,
    choice_option,
)
from contracts.terminal.printing import grid
from contracts.user_lists import named_users

_MAX_OTHER_TITLES = 4096  # that a share is taken among; as many as a training step compares
_MAX_LOGITS = 8_000_000  # held at once: 64 MB
_LEAST_CHANCE = 1e-6  # of any view, so that it can be divided by
_Titles = tuple[NDArray[np.int64], list[list[str]]]  # title_ids (T,), and each one's words
_CONDITIONS = {  # which titles a text names, in SQL; $text is the text, folded as titles are
    "title": "title = $text",
    "word": "list_contains(words, $text)",
    "host": "title_id IN (SELECT title_id FROM browsing_logs WHERE lower(host) = $text)",
}


@dataclass(frozen=True)
class UserForecast:
    user_id: str
    vector_of: date  # the day that the forecast looks ahead from
    forecasts: dict[str, float]  # by the names of contracts/forecasts.py


@dataclass(frozen=True)
class Forecasts:
    model_id: str
    as_of: date
    users: list[UserForecast]  # as they were named; or by one forecast, ties by user_id


@dataclass(frozen=True)
class Score:
    user_id: str
    vector_of: date
    share: float  # of the user's next views, by the model's softmax over titles
    expected_views: float | None  # in 28 days; None where the model forecasts no views
    chance: float | None  # of one such view or more; at most that of any view
    percentile: float  # the share of users who expect fewer; without forecasts, of a lower share


@dataclass(frozen=True)
class Propensity:
    model_id: str
    as_of: date
    text: str  # 'word "milk"'
    num_titles: int  # that the text names
    users: int  # who have a vector
    scores: list[Score]  # as they were named; or likeliest first, ties by user_id


def forecasts(
    lake: OpenLake,
    users: list[str] | None = None,
    by: str = FORECAST_NAMES[0],
    k: int | None = 10,
    model_id: str | None = None,
    as_of: date | None = None,
    lowest: bool = False,
) -> Forecasts:
    """The forecasts of `users`; of None, the `k` users with the highest `by`; all if `k` is None.

    `lowest` turns the order round.
    """
    if by not in FORECAST_NAMES:
        raise BadInput(f"there is no forecast {by}; there are {', '.join(FORECAST_NAMES)}")
    vectors = lake.embeddings(model_id, as_of)
    rows = lake.connection.execute(
        f"""SELECT user_id, as_of, {", ".join(FORECAST_NAMES)}
        FROM user_embeddings_as_of($day, {"$model" if model_id else "NULL"})
        WHERE {by} IS NOT NULL ORDER BY {by} {"ASC" if lowest else "DESC"}, user_id""",
        {"day": vectors.as_of, **({"model": model_id} if model_id else {})},
    ).fetchall()
    if not rows:
        raise MissingTable(
            f"{vectors.model_id} has made no forecasts as of {vectors.as_of}: its vectors are of a "
            "model without the task next_period, or of older code. `--title`, `--word` and "
            "`--host` ask any model how likely a view is"
        )
    found = [
        UserForecast(user, day, dict(zip(FORECAST_NAMES, numbers, strict=True)))
        for user, day, *numbers in rows
    ]
    if users is None:
        return Forecasts(vectors.model_id, vectors.as_of, found[:k])
    vectors.rows(users)  # names those who have no vector
    by_user = {each.user_id: each for each in found}
    if missing := [user for user in users if user not in by_user]:
        raise MissingTable(
            f"no forecast of {', '.join(missing[:5])} as of {vectors.as_of}: the vectors are older "
            "than the forecasts of this lake"
        )
    return Forecasts(vectors.model_id, vectors.as_of, [by_user[user] for user in users])


def propensity(
    lake: OpenLake,
    kind: str,
    text: str,
    users: list[str] | None = None,
    k: int | None = 10,
    model_id: str | None = None,
    as_of: date | None = None,
) -> Propensity:
    """How likely each user is to view what `text` names next; `kind` is title, word or host.

    The answer is of `users`; of None, of the `k` likeliest; of all, if `k` is None.
    """
    vectors = lake.embeddings(model_id, as_of)
    own, others = _titles_of(lake, kind, text)
    trained = load_registered_model(lake, vectors.model_id)
    shares = _title_shares(
        vectors, *(title_candidates(trained, ids, words) for ids, words in (own, others))
    )
    future = _views_and_chances(lake, vectors, model_id, shares)
    ranked_by = shares if future is None else future[0]
    rows = _requested_rows(vectors, ranked_by, users, k)
    below = np.searchsorted(np.sort(ranked_by), ranked_by[rows]) / len(ranked_by)
    return Propensity(
        vectors.model_id,
        vectors.as_of,
        f'{kind} "{text}"',
        len(own[0]),
        len(vectors),
        [
            Score(
                str(vectors.user_ids[row]),
                vectors.days[row].item(),
                float(shares[row]),
                None if future is None else float(future[0][row]),
                None if future is None else float(future[1][row]),
                percentile,
            )
            for row, percentile in zip(rows.tolist(), below.tolist(), strict=True)
        ],
    )


def _titles_of(lake: OpenLake, kind: str, text: str) -> tuple[_Titles, _Titles]:
    """The titles that `text` names, and those that they are compared with: the most viewed."""
    lake.need(TITLES, BROWSING_LOGS)
    folded = " ".join(text.lower().split())
    named = lake.connection.execute(
        f"SELECT title_id, words FROM titles WHERE {_CONDITIONS[kind]} ORDER BY title_id",
        {"text": folded},
    ).fetchall()
    if not named and kind == "title" and folded:
        named = [(0, folded.split(" "))]  # one that nobody has viewed yet
    if not named:
        raise BadInput(f"--{kind} {text!r}: no title in the lake has it")
    others = lake.connection.execute(
        f"""SELECT title_id, words FROM titles JOIN (
            SELECT title_id FROM browsing_logs GROUP BY title_id
            ORDER BY count(*) DESC, title_id LIMIT {_MAX_OTHER_TITLES}
        ) USING (title_id) WHERE title_id NOT IN (SELECT unnest($named)) ORDER BY title_id""",
        {"named": [title_id for title_id, _ in named]},
    ).fetchall()
    own, rest = (
        (np.array([title for title, _ in rows], np.int64), [words for _, words in rows])
        for rows in (named, others)
    )
    return own, rest


def _title_shares(
    vectors: Vectors, own: NDArray[np.float32], others: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(N,) the share of each user's next views that goes to the titles `own`, by a softmax.

    Shapes: own (T, D) and others (S, D) candidates. Without the other titles a user for whom all
    titles have high logits would seem to want everything.
    """
    candidates = np.concatenate([own, others])  # (T + S, D)
    shares = np.empty(len(vectors))  # (N,)
    for part in row_slices(len(vectors), max(1, _MAX_LOGITS // len(candidates))):
        logits = (vectors.matrix[part] @ candidates.T).astype(np.float64)  # (B, T + S)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares[part] = weights[:, : len(own)].sum(axis=1) / weights.sum(axis=1)
    return shares


def _views_and_chances(
    lake: OpenLake, vectors: Vectors, model_id: str | None, shares: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """(N,) each: the expected views of the titles, and the chance of one or more of them.

    The expected views are the forecast of all views, times the share. Who views nothing views none
    of them, so the chance is at most that of any view; for who views something it is as if views
    came one by one (Poisson). None where the model makes no forecasts.
    """
    numbers = user_forecasts(lake, vectors, model_id)
    if not numbers.names:
        return None
    views, no_view = (
        np.nan_to_num(numbers.matrix[:, numbers.names.index(name)].astype(np.float64))
        for name in (f"views_{FORECAST_DAYS}_days", f"no_view_{FORECAST_DAYS}_days")
    )
    expected = views * shares
    any_view = np.maximum(1 - no_view, _LEAST_CHANCE)
    return expected, -any_view * np.expm1(-expected / any_view)


def _requested_rows(
    vectors: Vectors, scores: NDArray[np.float64], users: list[str] | None, k: int | None
) -> NDArray[np.int64]:
    if users is not None:
        return vectors.rows(users)
    return np.lexsort((np.arange(len(scores)), -scores))[:k]


def _only_text(**texts: str | None) -> tuple[str, str] | None:
    """The one text that was given, with its kind."""
    given = [(kind, text) for kind, text in texts.items() if text is not None]
    if len(given) > 1:
        raise BadInput(f"ask for one of {' and '.join(f'--{kind}' for kind, _ in given)} at a time")
    return given[0] if given else None


def _print_forecasts(found: Forecasts, as_json: bool, as_csv: bool) -> None:
    rows = [(u.user_id, u.vector_of, *u.forecasts.values()) for u in found.users]
    columns = ("user_id", "vector_of", *FORECAST_NAMES)
    if as_csv:
        print_csv(rows, columns)
        return
    title = f"forecasts of {found.model_id} as of {found.as_of}, {len(rows):,} users"
    shown = [columns[0], "vector of", *(f"#{name}" for name in FORECAST_NAMES)]
    print_answer(found, as_json, title, grid(rows, *shown))


def _print_propensity(found: Propensity, as_json: bool, as_csv: bool) -> None:
    rows = [
        (s.user_id, s.vector_of, s.share, s.expected_views, s.chance, s.percentile)
        for s in found.scores
    ]
    if as_csv:
        columns = ("user_id", "vector_of", "share", "expected_views", "chance", "percentile")
        print_csv(rows, columns)
        return
    title = (
        f"propensity for {found.text} ({found.num_titles:,} titles) of {found.users:,} users, "
        f"{found.model_id} as of {found.as_of}"
    )
    table: Any = grid(
        rows, "user_id", "vector of", "#share", "#expected views", "#chance", "#percentile"
    )
    print_answer(found, as_json, title, table)


def main(
    users: Annotated[
        list[str] | None,
        typer.Argument(metavar="[USER]...", help="The users. [default: the top -k]"),
    ] = None,
    file: UserFile = None,
    title: Annotated[str | None, typer.Option("--title", help="A title to be viewed next.")] = None,
    word: Annotated[str | None, typer.Option("--word", help="A word of titles.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="The host of titles.")] = None,
    by: Annotated[
        str, choice_option("--by", FORECAST_NAMES, "The forecast that users are ordered by.")
    ] = FORECAST_NAMES[0],
    lowest: Annotated[
        bool, typer.Option("--lowest", help="Order forecasts from the lowest up.")
    ] = False,
    k: Annotated[int, typer.Option("-k", help="How many users to show.")] = 10,
    all_users: Annotated[bool, typer.Option("--all", help="Show every user.")] = False,
    as_of: AsOfOrNewest = None,
    model: ModelOrChampion = None,
    pseudonyms: ArePseudonyms = False,
    json: AsJson = False,
    csv: AsCsv = False,
) -> None:
    if k < 1:
        raise BadInput(f"-k is {k}: ask for one user or more")
    if json and csv:
        raise BadInput("say --json or --csv, not both")
    named = ids_as_stored(named_users(users or [], file).ids, pseudonyms) if users or file else None
    number = None if all_users else k
    asked = _only_text(title=title, word=word, host=host)
    with open_lake() as lake:
        if asked:
            scored = propensity(lake, *asked, named, number, model, as_of)
            _print_propensity(scored, json, csv)
        else:
            found = forecasts(lake, named, by, number, model, as_of, lowest)
            _print_forecasts(found, json, csv)

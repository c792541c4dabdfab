"""What the page says of a user, of chosen users, of everybody's coverage, and of two models.

Texts out of data are children of components: React writes them as text, never as markup.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from dash import dcc, html

from analyst.lake_access.viewed_titles import views_by_day
from analyst.questions.across_models import compare_across_models
from analyst.questions.cohort import cohort
from analyst.questions.coverage import coverage
from analyst.questions.explain import explain_vector
from analyst.questions.neighbors import Neighbor, neighbors
from analyst.vectors.search import neighbors_kept_between
from contracts.terminal.printing import cell_text
from explorer.figures import Figure, legend_entries, views_figure
from explorer.view import View

_NUM_NEAR = 10
_NUM_MARKS = 15
_NUM_EXPLAINED = 12
_SHOWN_TITLES = 3  # in common with a neighbor
_ASKED_USERS = 100  # whose neighbors two models are compared by
_ANY_ERROR = 2.0  # no cosine distance is larger, so the cards refuse nothing: their error is shown


def user_panel(view: View) -> list[Any]:
    """Who is near, and why; and the user's days."""
    user = view.state.user
    if not user:
        return [html.P("Choose a user: by id above, or with a click on the map.")]
    lake = view.reader.lake
    found = neighbors(lake, user, _NUM_NEAR, view.model_id, view.as_of)
    viewed = views_by_day(lake, user)
    lately = " · ".join(found.recent_written) or "no titles known"
    columns = ("user", "#cosine", "#overlap", "viewed by both (weight)", "viewed lately")
    return [
        html.P([html.Strong(f"User {user}"), f" viewed lately: {lately}"]),
        _chart(views_figure(viewed), "user-days", f"Views a day of user {user}"),
        html.H3(f"Nearest of {found.searched:,} users, and why"),
        data_table([_near_row(near) for near in found.neighbors], columns, "Nearest users"),
        html.P(
            "Overlap is what the two users' titles have in common, from 0 to 1; a weight is a "
            "title's part of it. Few viewers make a title weigh more.",
            className="soft",
        ),
        html.Button("Which titles make this vector?", id="explain-button", type="button"),
        dcc.Loading(html.Div(id="explanation"), type="dot"),
    ]


def _near_row(near: Neighbor) -> Sequence[object]:
    titles = [f"{t.written or t.title} ({t.weight:.3f})" for t in near.common_titles]
    return (near.user_id, near.cosine, near.overlap, titles[:_SHOWN_TITLES], near.recent_written)


def explanation_panel(view: View) -> list[Any]:
    lake, user = view.reader.lake, view.state.user
    found = explain_vector(lake, user, _NUM_EXPLAINED, view.model_id, view.as_of)
    rows = [(t.written or t.title, t.views, t.weight, t.moves) for t in found.titles]
    said = f"{found.num_views:,} views made the vector of {found.vector_of}."
    if not found.is_the_stored_vector:
        said += f" CAUTION: made again, it has a cosine of {found.cosine_to_stored:.4f} to it."
    return [
        html.P(said),
        data_table(rows, ("title", "#views", "#weight", "#moves"), "Titles of the vector"),
        html.P(
            "Moves is the cosine distance between the vector and the one without the title.",
            className="soft",
        ),
    ]


def cohort_panel(view: View) -> list[Any]:
    users = view.chosen_users
    if not users:
        none = "Nobody is chosen" if not view.selection else "Nobody of them has a vector"
        return [html.P(f"{none}: draw around users on the map, or write a query.")]
    found = cohort(view.reader.lake, users, _NUM_MARKS, view.model_id, view.as_of)
    marks = [(m.written or m.title, m.viewed_inside, m.viewed_outside, m.z) for m in found.marks]
    near = [(n.user_id, n.cosine, n.recent_written) for n in found.nearest_outside[:5]]
    return [
        html.P(
            f"{found.users:,} users. Mean cosine to their center {found.tightness:.3f}, of "
            f"everybody else {found.others:.3f}."
        ),
        html.H3("Titles that mark them"),
        data_table(marks, ("title", "#viewed inside", "#outside", "#z"), "Marking titles"),
        html.H3("Nearest of the others"),
        data_table(near, ("user", "#cosine", "viewed lately"), "Nearest of the others"),
    ]


def coverage_panel(view: View) -> list[Any]:
    named = [view.state.user] if view.state.user else []
    found = coverage(view.reader.lake, view.as_of, view.model_id, named)
    rows = [(each.reason, each.has_vector, each.users, each.examples) for each in found.reasons]
    said = [
        html.P(
            f"{found.with_vector:,} of {found.users:,} users have a vector as of {found.as_of}; of "
            f"the {found.usable:,} with a view in the {found.window_days} days before, "
            f"{found.usable_with_vector:,}."
        )
    ]
    said += [html.P(f"User {one.user_id}: {one.reason}.") for one in found.asked]
    columns = ("reason", "vector", "#users", "such as")
    return [*said, data_table(rows, columns, "Who has a vector, and who has none")]


def comparison_panel(view: View) -> list[Any]:
    """Two models: of one space by the cosine of each user, of two by the neighbors they keep."""
    other = view.other_day
    if other is None:
        missing = f"{view.state.other} has no vector of {view.as_of} or earlier."
        return [html.P(missing)] if view.state.other else []
    a, b = view.day.vectors, other.vectors
    kept = neighbors_kept_between(a, b, _NUM_NEAR, _ASKED_USERS)
    said = (
        f"Users keep {kept:.0%} of their {_NUM_NEAR} nearest from one model to the other "
        f"(asked of up to {_ASKED_USERS} users, each model in its own space)."
    )
    if a.model_id == b.model_id:
        space = "Both maps are of one model."
    elif view.is_one_space:
        found = compare_across_models(view.reader.lake, a, b, expected_error=_ANY_ERROR)
        space = (
            f"Both models live in {a.space_id}, so both are drawn on one map. The mean cosine of "
            f"a user's two vectors is {found.cosine.mean():.3f}; the alignment alone makes a "
            f"distance of up to {found.alignment_error:.3f}."
        )
    else:
        space = (
            "The models live in two spaces: places and distances on one map mean nothing on the "
            "other. Who is chosen on one is shown on both."
        )
    return [html.P(f"{said} {space}"), *_user_comparison(view)]


def _user_comparison(view: View) -> list[Any]:
    """The chosen user's neighbors under each model, and who is among both."""
    user, other = view.state.user, view.other_day
    if other is None or user not in view.day.vectors or user not in other.vectors:
        return []
    models = (view.model_id, view.other_id)
    answers = [neighbors(view.reader.lake, user, _NUM_NEAR, m, view.as_of) for m in models]
    found = [[near.user_id for near in answer.neighbors] for answer in answers]
    both = [near for near in found[0] if near in found[1]]
    named = f": {', '.join(both)}" if both else ""
    return [html.P(f"Of user {user}'s {_NUM_NEAR} nearest, {len(both)} are the same{named}.")]


def legend_list(figure: Figure) -> Any:
    """What the colors of a map mean."""
    entries = [
        html.Li([html.Span(className="dot", style={"backgroundColor": color}), name])
        for color, name in legend_entries(figure)
    ]
    return html.Ul(entries, className="legend") if entries else None


def data_table(rows: Iterable[Sequence[object]], columns: Sequence[str], name: str) -> Any:
    """A table that scrolls by itself; a name that begins with `#` is of numbers."""
    kinds = ["number" if column.startswith("#") else "" for column in columns]
    head = [
        html.Th(column.removeprefix("#"), scope="col", className=kind)
        for column, kind in zip(columns, kinds, strict=True)
    ]
    body = [
        html.Tr(
            [
                html.Td(cell_text(value), className=kind)
                for value, kind in zip(row, kinds, strict=True)
            ]
        )
        for row in rows
    ]
    table = html.Table([html.Thead(html.Tr(head)), html.Tbody(body)])
    return html.Div(table, className="scroll", tabIndex="0", role="region", **{"aria-label": name})


def _chart(figure: Any, id: str, name: str) -> Any:
    config = GRAPH_CONFIG | {"displayModeBar": False}  # it would cover the bars
    graph = dcc.Graph(id=id, figure=figure, config=config, style={"height": "160px"})
    return html.Div(graph, role="group", **{"aria-label": name})


# No button that sends a chart somewhere; no logo that is a link to another site.
GRAPH_CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,
    "modeBarButtonsToRemove": ["sendDataToCloud", "toImage", "autoScale2d", "lasso2d", "select2d"],
}

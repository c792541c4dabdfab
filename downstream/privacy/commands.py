"""Measure what a model's vectors give away about people: the privacy card of the model.

userbert models privacy                      the champion, as of the day of its training
userbert models privacy MODEL_ID --as-of 2017-07-01 --noise

How often a user's vector of one period finds that of another one, whether an attacker can tell whom
the model was trained on, what vectors say of labels that are marked as sensitive, and with --noise
what a private export (`userbert export --private`) costs and buys. docs/privacy.md explains it.
"""

import json as jsonlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from analyst.lake_access.open_lake import open_lake
from analyst.vectors.private_noise import PrivacySettings
from contracts.errors import BadInput
from contracts.paths import Places
from contracts.storage.atomic_write import write_json, write_text
from contracts.terminal.options import AsJson, day_option
from contracts.terminal.printing import print_parts
from downstream.privacy.measured_users import CardChoices
from downstream.privacy.noise_picture import check_picture, draw_noise
from downstream.privacy.privacy_card import PrivacyCard, measure_privacy, num_parts
from downstream.privacy.tables import card_facts, markdown_page, terminal_parts
from downstream.rivals.encoders import champion_id
from model.one_thread import one_thread
from spark_jobs.registry.privacy_lines import privacy_file

_DEFAULT_EPSILONS = "1,8,64,256,1024,4096"


def write_card(places: Places, card: PrivacyCard) -> Path:
    """The figures for the model's card, and the page beside them; neither names a user."""
    path = privacy_file(places, card.model_id)
    write_json(path, card_facts(card))
    write_text(path.with_suffix(".md"), markdown_page(card))
    return path


@contextmanager
def _progress_bar(total: int) -> Iterator[Callable[[str], None]]:
    """A function that names the part that begins; nothing where stderr is no terminal."""
    from contracts.terminal.progress_bar import progress_bar

    with progress_bar(has_time_left=False) as bar:
        task = bar.add_task("reading views", total=total + 1)
        yield lambda part: bar.update(task, advance=1, description=part)
        bar.update(task, completed=total + 1, description="done")


def _epsilons(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise BadInput(f"--epsilons {text}: write numbers with commas between them") from None
    return tuple(PrivacySettings(epsilon=each).epsilon for each in found)


def main(
    model_id: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL_ID]", help="The model's id. [default: the champion]"),
    ] = None,
    as_of: Annotated[
        date | None,
        day_option("--as-of", help="The UTC day. [default: the day of the model's training]"),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            "--labels",
            metavar="NAME,...",
            help="Files of labels to ask about. [default: those marked as is_sensitive]",
        ),
    ] = "",
    noise: Annotated[
        bool, typer.Option("--noise", help="Measure what private exports cost and buy, too.")
    ] = False,
    epsilons: Annotated[
        str, typer.Option("--epsilons", metavar="NUMBER,...", help="Those of the noise.")
    ] = _DEFAULT_EPSILONS,
    clip: Annotated[
        float, typer.Option("--clip", help="The length to which vectors are cut before noise.")
    ] = 1.0,
    delta: Annotated[float, typer.Option("--delta", help="That of the noise.")] = 1e-6,
    splits: Annotated[int, typer.Option("--splits", min=2, help="Of the labelled users.")] = 10,
    seed: Annotated[int, typer.Option("--seed", help="Of all draws.")] = 0,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="Draw the price of noise, as .png or .svg."),
    ] = None,
    json: AsJson = False,
) -> None:
    if picture:
        check_picture(picture, has_noise=noise)
    choices = CardChoices(
        as_of=as_of,
        labels=tuple(name.strip() for name in labels.split(",") if name.strip()),
        splits=splits,
        seed=seed,
        epsilons=_epsilons(epsilons) if noise else (),
        noise=PrivacySettings(epsilon=1.0, delta=delta, clip=clip),
    )
    with open_lake() as lake, _progress_bar(num_parts(choices)) as progress, one_thread():
        card = measure_privacy(lake, model_id or champion_id(lake), choices, progress)
        path = write_card(lake.places, card)
    if picture:
        draw_noise(card, picture)
    if json:
        sys.stdout.write(jsonlib.dumps(card_facts(card), indent=1) + "\n")
        return
    print_parts(*terminal_parts(card), f"the same stands in {path} and {path.stem}.md")

"""Judging, promoting and rolling back: each step in its order, on one lake.

`models` says who the champion is, and published_embeddings follows it. A promotion first embeds
everybody in the window as of the newest published day and sees the new vectors through their gate,
then writes `models`, then published_embeddings, in one commit for readers. Killed in between,
readers stay on the old model, whole; the same command again, or the next night, finishes it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from contracts.errors import BadInput, GateFailed
from contracts.evaluation_settings import EvaluationSettings
from contracts.paths import Places
from spark_jobs.backfill import days as backfill
from spark_jobs.lake.lake import Lake
from spark_jobs.registry.downstream_results import downstream_faults
from spark_jobs.registry.model_status import (
    later_reason,
    rollback_target,
    rolled_back,
    was_rolled_back_to,
    with_champion,
    with_excluded,
    with_reason,
)
from spark_jobs.registry.promotion_criteria import (
    describe_fitness,
    is_fit_against,
    reasons_against,
)
from spark_jobs.registry.registration import (
    folder_of_new_model,
    model_from_folder,
    with_registered,
)
from spark_jobs.tables.forgotten_users import must_not_be_overdue
from spark_jobs.tables.models import (
    Model,
    Models,
    champion_model,
    change_models,
    find_model,
    load_models,
    model_folder,
    settings_of_models,
)
from spark_jobs.tables.published_embeddings import (
    check_no_day_is_lost,
    has_vectors,
    prepare_all_days,
    published_models,
    replace_all_days,
)
from spark_jobs.tables.user_embeddings import check_servable


@dataclass(frozen=True)
class Registry:
    """The operations on one lake. Each may be repeated; a second rollback goes one further."""

    lake: Lake
    places: Places

    def register(self, model_id: str) -> Model:
        new = model_from_folder(folder_of_new_model(self.places, model_id))
        self._change(f"register {new.model_id}", lambda models: with_registered(models, new))
        return load_models(self.lake)[new.model_id]

    def judge(self, model_id: str) -> str:
        """Why it is fit; `GateFailed` when it is not, and its status says so for good."""
        models = load_models(self.lake)
        model, champion = find_model(models, model_id), champion_model(models)
        if champion == model:
            return model.status_reason
        if model.status == "refused":
            raise GateFailed(f"{model_id} is refused: {later_reason(model)}")
        new = json.loads(model.measures)
        old = self._measures_on_the_same_users(model, champion) if champion else None
        reasons = reasons_against(new, old)
        if champion:
            tasks = EvaluationSettings.from_environment().promotion_tasks
            reasons += downstream_faults(self.lake, model_id, champion.model_id, tasks)
        if reasons:
            self.exclude(model_id, "refused", "; ".join(reasons))
            raise GateFailed(f"{model_id} is refused: {'; '.join(reasons)}; the champion stays")
        fit = describe_fitness(new, old, champion.model_id if champion else "")
        self._change(f"judge {model_id}", lambda now: with_reason(now, model_id, fit))
        return fit

    def _measures_on_the_same_users(self, model: Model, champion: Model) -> dict[str, float]:
        """The champion's measures: measured again unless both had the same held-out users."""
        if (model.inputs, model.trained_before) == (champion.inputs, champion.trained_before):
            return dict(json.loads(champion.measures))
        from model.training.comparison import (
            measures_on_the_same_users,  # torch takes two seconds to import
        )

        folders = model_folder(self.places, model), model_folder(self.places, champion)
        return measures_on_the_same_users(*folders, self.places.lake, self.places.arrays)

    def promote(
        self, model_id: str, reason: str, force: bool = False, allow_missing_days: bool = False
    ) -> None:
        """Make a model that is fit the champion, or with `force` any model.

        What was against it is kept with the reason of a forced promotion. A model that saw users
        who were forgotten too long ago is never promoted: the next night would not publish it.
        """
        models = load_models(self.lake)
        find_model(models, model_id)
        must_not_be_overdue(self.places, model_id, lambda: settings_of_models(models))
        against = reason_not_to_promote(models, model_id)
        if against and not force:
            raise GateFailed(
                f"{model_id} {against}; the champion stays. `userbert models judge {model_id} "
                "--promote` judges it first; `--force --reason TEXT` promotes it all the same"
            )
        kept = f"forced: {reason} ({model_id} {against})" if against else reason
        self._switch(
            model_id, lambda models: with_champion(models, model_id, kept), not allow_missing_days
        )

    def rollback(self, allow_missing_days: bool = False) -> str:
        """The champion from now on: the one before. What it lacks of the days is embedded first.

        A rollback that was killed half-way is finished, and does not go one further.
        """
        models = load_models(self.lake)
        champion = champion_model(models)
        others = published_models(self.lake) - {champion.model_id} if champion else set()
        if champion and others and was_rolled_back_to(champion):  # it was killed half-way
            return self._return_to(champion, lambda now: now, allow_missing_days)
        champion, target = rollback_target(models)
        from_id, to_id = champion.model_id, target.model_id
        return self._return_to(
            target, lambda now: rolled_back(now, from_id, to_id), allow_missing_days
        )

    def _return_to(
        self, target: Model, changed: Callable[[Models], Models], allow_missing_days: bool
    ) -> str:
        must_not_be_overdue(
            self.places, target.model_id, lambda: settings_of_models(load_models(self.lake))
        )
        if not allow_missing_days:
            self._embed_published_days(target)
        self._switch(target.model_id, changed, not allow_missing_days)
        return target.model_id

    def _embed_published_days(self, model: Model) -> None:
        """Make the vectors that `model` lacks of the days that readers have, as a backfill does."""
        days = backfill.published_days(self.lake)
        unfinished = [
            day for day in backfill.survey_days(self.lake, model.model_id, days) if not day.finished
        ]
        if not unfinished:
            return
        try:
            check_servable(model_folder(self.places, model))
        except (BadInput, LookupError) as error:
            raise type(error)(
                f"{error}. {len(unfinished)} published days need vectors of {model.model_id}; "
                "--allow-missing-days rolls back without them"
            ) from None
        list(backfill.fill_days(self.lake, self.places, model.model_id, days))

    def exclude(self, model_id: str, status: str, reason: str) -> None:
        """Retire or refuse a model that is not served."""
        self._change(
            f"{status} {model_id}", lambda now: with_excluded(now, model_id, status, reason)
        )

    def _switch(
        self, model_id: str, changed: Callable[[Models], Models], all_days_needed: bool
    ) -> None:
        """Change `models`, and then what readers see, after the new rows have passed their gate."""
        changed(load_models(self.lake))  # refuses before anything is computed
        run = f"champion {model_id}"
        if not has_vectors(self.lake, model_id) and not published_models(self.lake):
            self._change(run, changed)  # there is nothing to publish yet
            return
        if all_days_needed:
            check_no_day_is_lost(self.lake, model_id)
            backfill.embed_everybody(self.lake, self.places, model_id)
        prepared = prepare_all_days(self.lake, self.places, model_id, all_days_needed)
        self._change(run, changed)
        replace_all_days(self.lake, self.places, prepared)

    def _change(self, run: str, changed: Callable[[Models], Models]) -> None:
        change_models(self.lake, self.places, run, changed)


def reason_not_to_promote(models: Models, model_id: str) -> str:
    """What is against promoting the model now; empty when it was judged fit, or is the champion."""
    model, champion = find_model(models, model_id), champion_model(models)
    if champion == model:
        return ""
    reason = later_reason(model)
    if model.status == "refused":
        return f"was refused: {reason}"
    against = champion.model_id if champion else ""
    if is_fit_against(reason, against):
        return ""
    return f"was not judged against the champion, {against}" if against else "was not judged"

"""Every rival by name, and its vectors of all judged users as of a day, made once a run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake
from contracts.errors import BadInput
from contracts.storage.atomic_write import atomic_file
from downstream.data.views import Views
from downstream.rivals import aggregates, coles, encoders, title_texts
from downstream.rivals.encoders import MODEL_VARIANTS, JudgedModel

_Matrix = NDArray[Any]
HAND_MADE: dict[str, Callable[[Views, date], _Matrix]] = {
    "num_views": aggregates.num_views,
    "recency_frequency": aggregates.recency_frequency,
    "aggregates": aggregates.aggregate_counts,
}
_TITLE_TEXTS: dict[str, Callable[[Views, date, int], _Matrix]] = {
    "tfidf_newest": title_texts.tfidf_newest,
    "tfidf_all": title_texts.tfidf_all,
    "word2vec": title_texts.word2vec_mean,
}
_COLES_RIVALS: dict[str, Callable[[Views, date, Path, int], _Matrix]] = {
    "coles": coles.newest_vectors,
    "coles_all": coles.all_vectors,
}
JOINED_RIVAL = "joined"  # the judged model's vectors beside the aggregates
_RIVALS = (*HAND_MADE, *_TITLE_TEXTS, *MODEL_VARIANTS, *_COLES_RIVALS, JOINED_RIVAL)
_OF_FIRST_MODEL = (*MODEL_VARIANTS, JOINED_RIVAL)  # whose vectors depend on what is judged
_STALE_RIVALS = ("recency_frequency", "aggregates")  # in the staleness curve, beside the models


@dataclass(frozen=True)
class VectorFile:
    """A rival's vectors on disk: (N, D) float32, a row a judged user."""

    rival: str
    path: Path
    content: str  # sha256 of the file
    stale_days: int = 0


def known_rivals(names: Sequence[str]) -> tuple[str, ...]:
    """These rivals, or all where none is named."""
    if unknown := [name for name in names if name not in _RIVALS]:
        raise BadInput(f"there is no rival {unknown[0]}; the rivals are {', '.join(_RIVALS)}")
    return tuple(names) or _RIVALS


@dataclass(frozen=True, eq=False)
class VectorFiles:
    """Makes the vectors of models and rivals below `folder`; what lies there is not made again."""

    lake: OpenLake
    views: Views  # on both sides of the cut
    as_of: date
    models: Sequence[JudgedModel]
    folder: Path
    trainings: Path  # twins and variants; shared by all runs
    seed: int

    def of_models(self) -> Iterator[VectorFile]:
        for model in self.models:
            yield self._file(model.model_id, 0, self._of_model(model))

    def of_rival(self, rival: str) -> VectorFile:
        if rival in HAND_MADE:
            return self._file(rival, 0, HAND_MADE[rival])
        if rival in _TITLE_TEXTS:
            return self._file(rival, 0, self._of_texts(rival))
        if rival in MODEL_VARIANTS:
            return self._file(rival, 0, self._of_variant(rival))
        if rival in _COLES_RIVALS:
            return self._file(rival, 0, self._of_coles(rival))
        return self._file(JOINED_RIVAL, 0, lambda past, as_of: self._joined())

    def stale(self, days: Sequence[int]) -> Iterator[VectorFile]:
        """The models and a few rivals as of `days` before the cut, and at the cut itself."""
        makers: Mapping[str, Callable[[Views, date], _Matrix]] = {
            **{model.model_id: self._of_model(model) for model in self.models},
            **{name: HAND_MADE[name] for name in _STALE_RIVALS},
        }
        for stale_days in (0, *days):
            for rival, make in makers.items():
                yield self._file(rival, stale_days, make)

    def _of_model(self, model: JudgedModel) -> Callable[[Views, date], _Matrix]:
        return lambda past, as_of: encoders.vectors_of_folder(model.folder, past, as_of)

    def _of_texts(self, rival: str) -> Callable[[Views, date], _Matrix]:
        return lambda past, as_of: _TITLE_TEXTS[rival](past, as_of, self.seed)

    def _of_coles(self, rival: str) -> Callable[[Views, date], _Matrix]:
        return lambda past, as_of: _COLES_RIVALS[rival](past, as_of, self.folder, self.seed)

    def _of_variant(self, variant: str) -> Callable[[Views, date], _Matrix]:
        def make(past: Views, as_of: date) -> _Matrix:
            arguments = (self.models[0], as_of, variant, self.trainings)
            folder = encoders.variant_folder(self.lake, *arguments)
            return encoders.vectors_of_folder(folder, past, as_of)

        return make

    def _joined(self) -> _Matrix:
        """The files of both, which are made where they are not there yet."""
        ours = next(self.of_models())
        return np.hstack([np.load(each.path) for each in (ours, self.of_rival("aggregates"))])

    def _file(
        self, rival: str, stale_days: int, make: Callable[[Views, date], _Matrix]
    ) -> VectorFile:
        of_model = f"-of-{self.models[0].folder.name}" if rival in _OF_FIRST_MODEL else ""
        path = self.folder / f"{rival}{of_model}-{stale_days}.npy".replace("/", "_")
        if not path.exists():
            day = self.as_of - timedelta(days=stale_days)
            vectors = np.ascontiguousarray(make(self.views.before(day), day), np.float32)
            _must_be_finite(rival, vectors, len(self.views))
            with atomic_file(path) as unfinished, unfinished.open("wb") as file:
                np.save(file, vectors)
        return VectorFile(rival, path, sha256(path.read_bytes()).hexdigest()[:16], stale_days)


def _must_be_finite(rival: str, vectors: _Matrix, num_users: int) -> None:
    if vectors.ndim != 2 or len(vectors) != num_users or not np.isfinite(vectors).all():
        raise BadInput(
            f"{rival} gave an array of {vectors.shape} with {np.isnan(vectors).sum()} NaN; it must "
            f"give a row of finite numbers for each of the {num_users} judged users"
        )

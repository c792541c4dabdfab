"""Vectors out of title texts by the usual libraries: TF-IDF with SVD, and word2vec of titles."""

from datetime import date

import numpy as np
from numpy.typing import NDArray

from contracts.limits import EMBEDDING_WIDTH, MAX_VIEWS
from downstream.data.views import Views
from downstream.tasks.from_logs import title_words, user_titles

_Matrix = NDArray[np.float64]
_WORD2VEC_EPOCHS = 5
_WORD2VEC_WINDOW = 10  # views before and after


def tfidf_newest(past: Views, as_of: date, seed: int) -> _Matrix:
    """(N, 256) of the words of the newest 100 views, the ones that our encoder reads."""
    return _tfidf_svd(past.newest(MAX_VIEWS), seed)


def tfidf_all(past: Views, as_of: date, seed: int) -> _Matrix:
    """(N, 256) of the words of all views."""
    return _tfidf_svd(past, seed)


def _tfidf_svd(views: Views, seed: int) -> _Matrix:
    """Sublinear TF-IDF of title words, reduced by a truncated SVD to at most 256 directions."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    counts = user_titles(views) @ title_words(views.catalog)[0]  # (N, T) @ (T, W) -> (N, W)
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    width = min(EMBEDDING_WIDTH, min(weighted.shape) - 1)
    return np.asarray(TruncatedSVD(width, random_state=seed).fit_transform(weighted))


def word2vec_mean(past: Views, as_of: date, seed: int) -> _Matrix:
    """(N, 256): each title is a word and each user's views a sentence; the mean of the newest 100.

    One thread, so that a second run gives the same vectors.
    """
    from gensim.models import Word2Vec

    names = past.titles.astype(str)
    sentences = [names[a:b].tolist() for a, b in zip(past.offsets, past.offsets[1:], strict=False)]
    model = Word2Vec(
        [sentence for sentence in sentences if sentence],
        vector_size=EMBEDDING_WIDTH,
        window=_WORD2VEC_WINDOW,
        min_count=1,
        sg=1,
        epochs=_WORD2VEC_EPOCHS,
        workers=1,
        seed=seed,
    )
    vectors = np.zeros((len(past.catalog.title_ids), EMBEDDING_WIDTH))
    vectors[np.array(model.wv.index_to_key, np.int64)] = model.wv.vectors  # (T, D)
    newest = user_titles(past.newest(MAX_VIEWS))
    totals = np.asarray(newest.sum(axis=1)).clip(1)
    return np.asarray(newest @ vectors / totals)

"""Corpora of a few rows, made of lists that can be read."""

import numpy as np

from model.data.corpus import Corpus
from model.data.ragged import Ragged


def corpus_of(words, people, behaviors=None):
    """words: the word ids of each title. people: for each pair of a person (A, B), two lists of
    (time, title); a person with several pairs is a list of such pairs."""
    sequences, users, pairs = [], [], []
    for user, own in enumerate(people):
        for early, late in own if isinstance(own, list) else [own]:
            pairs.append((len(sequences), len(sequences) + 1))
            sequences += [early, late]
            users += [user, user]
    titles = Ragged.of([[title for _, title in row] for row in sequences], np.int32)
    identities = {tuple(title): row for row, title in reversed(list(enumerate(words)))}
    return Corpus(
        title_ids=np.arange(len(words)),
        title_words=Ragged.of(words, np.int32),
        title_identity=np.array([identities[tuple(title)] for title in words], np.int32),
        sequences=titles,
        times=np.array([time for row in sequences for time, _ in row], np.int64),
        sequence_users=np.array(users, np.int32),
        pairs=np.array(pairs, np.int32),
        behaviors=titles.values if behaviors is None else np.array(behaviors, np.int32),
    )


def random_corpus(num_users=24, num_titles=60, num_words=40, longest=12, seed=0):
    """People whose A lies before time 500 and B after it, of 1 to `longest` views each."""
    draw = np.random.default_rng(seed)
    words = [draw.integers(2, num_words, draw.integers(1, 8)).tolist() for _ in range(num_titles)]

    def sequence(first, last):
        times = np.sort(draw.integers(first, last, draw.integers(1, longest + 1)))
        return [(int(time), int(draw.integers(num_titles))) for time in times]

    people = []
    for _ in range(num_users):
        start = int(draw.integers(0, 400))
        people.append((sequence(start, start + 100), sequence(start + 101, start + 300)))
    return corpus_of(words, people)

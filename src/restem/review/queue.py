"""In which order to listen: the most doubtful stem first, and each tenth stem drawn at random.

What a person hears in a stem tells something about the others of its song: a source is in one stem as a rule. So where
a class was found, it is less likely in the stems of the song that were not given it; where it was given but is missing,
it is more likely in them (`informed`). After each decision the most doubtful stem is chosen anew.

One decision in `RANDOM_EVERY` is about the next stem of a random order of all stems. Only such stems tell how many
labels are wrong among the stems that nobody doubts (see `remaining`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit, logit

from restem.labelling.label_sets import set_probability
from restem.taxonomy import Taxonomy
from restem.verdicts import WITHOUT_SOUND
from restem.wording import counted

RANDOM_EVERY = 10
_SEED = 20230712  # of the random order; any fixed number
_ELSEWHERE = np.log(4.0)  # how much a decision changes the log odds of others of its song; benchmarks/review.py
_IN_DOUBT = 0.1  # the probability that a label is wrong from which a stem counts as in doubt about its class


def doubts(labels: pl.DataFrame, taxonomy: Taxonomy, scores: np.ndarray | None = None) -> np.ndarray:
    """(stem,) P(the refined label set is wrong), for rows of `labels.csv`; 0 for silent and failed stems.

    scores: (stem, class), instead of those in the table.
    """
    without_sound = labels["verdict"].is_in(WITHOUT_SOUND).to_numpy()
    scores = scores_of(labels, taxonomy) if scores is None else scores
    return np.where(without_sound, 0.0, 1.0 - set_probability(scores, flags_of(labels["refined"], taxonomy)))


def scores_of(labels: pl.DataFrame, taxonomy: Taxonomy) -> np.ndarray:
    """(stem, class) the scores in rows of `labels.csv`, 0 where there are none."""
    return labels.select(pl.col(list(taxonomy.classes)).fill_null(0.0)).to_numpy()


def flags_of(column: pl.Series, taxonomy: Taxonomy) -> np.ndarray:
    """(stem, class) which classes the label sets written in a column hold."""
    flags = np.array([taxonomy.to_flags(taxonomy.parse(text)) for text in column], bool)
    return flags.reshape(len(column), len(taxonomy))


def informed(
    scores: np.ndarray, given: np.ndarray, song: np.ndarray, rows: np.ndarray, heard: np.ndarray
) -> np.ndarray:
    """(stem, class) the scores in view of what people heard in other stems of the song.

    scores, given: (stem, class). song: (stem,) its number. rows: (decision,) the stems that were decided about. heard:
    (decision, class) what is in them. However many decisions there are about a song, they count once.
    """
    more = np.zeros((int(song.max(initial=-1)) + 1, scores.shape[1]))
    np.add.at(more, song[rows], _ELSEWHERE * ((given[rows] & ~heard).astype(float) - heard))
    more = np.clip(more, -_ELSEWHERE, _ELSEWHERE)
    odds = logit(np.clip(scores, 1e-6, 1.0 - 1e-6)) + more[song]
    return np.where(given | (more[song] == 0), scores, expit(odds))


class Queue:
    """The order of the stems in which `listen` (stem,) is true. seed: of the drawing."""

    def __init__(self, listen: np.ndarray, seed: int = _SEED) -> None:
        self.listen = listen
        self.random = np.random.default_rng(seed).permutation(np.flatnonzero(listen))

    def first(self, doubt: np.ndarray, settled: np.ndarray) -> tuple[int | None, bool]:
        """The row to listen to next, or None, and whether it is drawn. doubt, settled: (stem,)."""
        drawn = bool((settled & self.listen).sum() % RANDOM_EVERY == RANDOM_EVERY - 1)
        if not (self.listen & ~settled).any():
            return None, False
        if drawn:
            return int(self.random[~settled[self.random]][0]), True
        return int(np.where(self.listen & ~settled, doubt, -1.0).argmax()), False

    def rows(self, doubt: np.ndarray, settled: np.ndarray) -> tuple[list[int], list[int]]:
        """All rows to listen to, in the order in which they come unless decisions change it, and those that are drawn.

        doubt, settled: (stem,).
        """
        waiting = np.flatnonzero(self.listen & ~settled)
        doubtful = iter(waiting[np.lexsort((waiting, -doubt[waiting]))].tolist())
        random = iter(self.random[~settled[self.random]].tolist())
        before = int((settled & self.listen).sum())
        taken, drawn = dict[int, None](), []
        while len(taken) < len(waiting):
            draw = (before + len(taken)) % RANDOM_EVERY == RANDOM_EVERY - 1
            row = next(one for one in (random if draw else doubtful) if one not in taken)
            taken[row] = None
            if draw:
                drawn.append(row)
        return list(taken), drawn

    def arranged(self, doubt: np.ndarray, settled: np.ndarray, last: np.ndarray) -> tuple[list[int], list[int]]:
        """All rows of the run, and those that are drawn.

        First what there is to listen to, then what is settled, then those in which `last` (stem,) is true.
        """
        waiting, drawn = self.rows(doubt, settled)
        position = np.full(len(doubt), len(doubt))
        position[waiting] = np.arange(len(waiting))
        return np.lexsort((np.arange(len(doubt)), -doubt, position, last)).tolist(), drawn

    def sample(self, outcome: np.ndarray) -> np.ndarray:
        """The outcomes (stem,) of the stems that were drawn so far: the random order up to the first without one."""
        drawn = outcome[self.random]
        return drawn[: np.argmax(np.isnan([*drawn, np.nan]))]


def why(row: Mapping[str, Any], song: Sequence[Mapping[str, Any]], taxonomy: Taxonomy, drawn: bool) -> str:
    """In a sentence or two why a stem is worth listening to.

    row: its row of `labels.csv`. song: the rows of the other stems of its song that nobody has decided about. drawn:
    whether it is in the queue because it was drawn.
    """
    if row["verdict"] in WITHOUT_SOUND:
        return ""
    if drawn:
        return f"Drawn at random, as 1 stem in {RANDOM_EVERY} is: such stems tell how many wrong labels are left."
    refined = taxonomy.parse(row["refined"])
    wrong = {name: _wrong(row, name, name in refined) for name in taxonomy.classes}
    name = max(taxonomy.classes, key=wrong.__getitem__)
    if wrong[name] < _IN_DOUBT:
        return f"No label is in much doubt; least sure is {name}, with probability {row[name]:.2f}."
    doubtful = "may not be in it" if name in refined else "may be missing"
    sentence = f"The label {name} {doubtful}: it is in this stem with probability {row[name]:.2f}."
    others = sum(
        one["verdict"] not in WITHOUT_SOUND and _wrong(one, name, name in taxonomy.parse(one["refined"])) >= _IN_DOUBT
        for one in song
    )
    if others:
        sentence += f" {name} is in doubt in {counted(others, 'other stem')} of its song, too."
    return sentence


def _wrong(row: Mapping[str, Any], name: str, labelled: bool) -> float:
    score = float(row[name] or 0.0)
    return 1.0 - score if labelled else score

"""In which order to listen: the most doubtful stems first, and among them some that are drawn at random.

One stem in `RANDOM_EVERY` of the queue is the next of a random order of all stems. Those that were drawn are a random
sample: only they tell how many labels are wrong among the stems that nobody doubts (see `remaining`). The order follows
from what the classifiers found, never from decisions, so it is the same whenever the review is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from restem.labelling.label_sets import set_probability
from restem.taxonomy import Taxonomy
from restem.verdicts import WITHOUT_SOUND
from restem.wording import counted

RANDOM_EVERY = 10
_SEED = 20230712  # of the random order; any fixed number
_IN_DOUBT = 0.1  # the probability that a label is wrong from which a stem counts as in doubt about its class


def doubts(labels: pl.DataFrame, taxonomy: Taxonomy) -> np.ndarray:
    """(stem,) P(the refined label set is wrong), for rows of `labels.csv`; 0 for silent and failed stems."""
    flags = np.array([taxonomy.to_flags(taxonomy.parse(text)) for text in labels["refined"]], bool)
    flags = flags.reshape(len(labels), len(taxonomy))
    scores = labels.select(pl.col(list(taxonomy.classes)).fill_null(0.0)).to_numpy()
    without_sound = labels["verdict"].is_in(WITHOUT_SOUND).to_numpy()
    return np.where(without_sound, 0.0, 1.0 - set_probability(scores, flags))


@dataclass(frozen=True, eq=False)
class Queue:
    """The order of the stems to listen to, as rows of the run.

    rows: (stem,) in the order of listening. drawn: those of them that are there because they were drawn.
    """

    rows: np.ndarray
    drawn: frozenset[int]

    @classmethod
    def of(cls, doubt: np.ndarray, listen: np.ndarray, seed: int = _SEED) -> Queue:
        """The queue of the rows in which `listen` (stem,) is true, by their `doubt` (stem,). seed: of the drawing."""
        rows = np.flatnonzero(listen)
        doubtful = iter(rows[np.lexsort((rows, -doubt[rows]))].tolist())
        random = iter(np.random.default_rng(seed).permutation(rows).tolist())
        taken, drawn = dict[int, None](), set()
        while len(taken) < len(rows):
            draw = len(taken) % RANDOM_EVERY == RANDOM_EVERY - 1
            row = next(one for one in (random if draw else doubtful) if one not in taken)
            taken[row] = None
            if draw:
                drawn.add(row)
        return cls(np.array(list(taken), int), frozenset(drawn))

    def arranged(self, late: np.ndarray) -> list[int]:
        """All rows of the run, by `late` (stem,) first: the lower the earlier; rows that are not in the queue last."""
        position = np.full(len(late), len(self.rows))
        position[self.rows] = np.arange(len(self.rows))
        return np.lexsort((np.arange(len(late)), position, late)).tolist()


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

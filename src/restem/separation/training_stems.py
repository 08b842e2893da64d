"""The stems that a separator is trained on: which stems, with which classes in them, at which times.

They come from a dataset, with its given labels, or from a run, with its refined labels; stems that are `failed`,
`silent` or (by default) `unsure` are not used.

A run also has class probabilities, for each stem and over time. With them, a class is in the label set of a place (a
time at which an example can start) unless it can be ruled out, for the stem or for the place: where `bass+drums` has no
drums, the stem supervises the bass alone, and where `bass` may have drums, the sum of both. A set with a class too many
makes the supervision less specific; a set with a class too few makes it wrong. Hence the probability that the set of a
place is right is that of no class beside it: prod(1 - p of the classes that it lacks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from restem.audio.entries import Source
from restem.audio.level import LEVEL_S, active_frames
from restem.audio.pcm import PcmStore
from restem.dataset.known_songs import kept_aside_in_musdb18
from restem.dataset.splits import VALID
from restem.dataset.table import Dataset, split_stem_name
from restem.errors import DatasetError
from restem.runs.run import Run

# Examples start on a grid, and up to one step later.
GRID_S = 0.5

# A place is used if the stem is active for at least this share of it: with less, an example is mostly silence.
_ACTIVE_SHARE = 0.25

# A class that the refined labels of a stem lack is ruled out in the stem below the first of these probabilities. In a
# segment, a class is ruled out below the second if the refined labels hold it, and below the third if they lack it. On
# the runs that benchmarks/separation.py trains on, the given labels lack a sounding class in 27 to 33 % of the places,
# these sets and the refined labels of whole stems in 5 to 6 %. These sets hold fewer classes than the latter, 1.2 on
# average, which is as many as sound.
_STEM_RULED_OUT_BELOW = 0.1
_NAMED_RULED_OUT_BELOW = 0.1
_OTHER_RULED_OUT_BELOW = 0.5


@dataclass(frozen=True, eq=False)
class TrainingStem:
    """A stem to train on.

    labels: (class,) flags, of the stem as a whole. start_s, stop_s: (segment,), and scores: (segment, class), those of
    classes that the stem cannot hold at most as high as for the whole stem; None without scores over time. unsure:
    whether the labels themselves are in doubt.
    """

    source: Source
    song: str
    name: str
    labels: np.ndarray
    start_s: np.ndarray | None = None
    stop_s: np.ndarray | None = None
    scores: np.ndarray | None = None
    split: str = ""
    unsure: bool = False


@dataclass(frozen=True, eq=False)
class Places:
    """The places, stem and time, at which examples can start.

    stem: (place,) index of the training stem. step: (place,) start on the grid, in units of `GRID_S`.
    labels: (place, class) flags: what may sound in an example that starts there. right: (place,) the probability that
    nothing else sounds in it; 1 where nothing is known.
    """

    stem: np.ndarray
    step: np.ndarray
    labels: np.ndarray
    right: np.ndarray

    def __len__(self) -> int:
        return len(self.stem)


def training_stems_of_dataset(dataset: Dataset) -> list[TrainingStem]:
    """Every stem that has a label, with its given labels."""
    return [
        TrainingStem(
            (dataset.file(stem), stem.stream or 0),
            stem.song,
            stem.name,
            np.array(dataset.taxonomy.to_flags(stem.given)),
            split=stem.split,
        )
        for stem in dataset.stems
        if stem.given
    ]


def training_stems_of_run(run: Run, unsure: bool = False, weigh: bool = False) -> list[TrainingStem]:
    """The `kept` and `changed` stems of a run, with their refined labels, and scores over time.

    unsure: whether to include `unsure` stems. weigh: include them with their scores over time. Raises DatasetError when
    the dataset of the run is missing.
    """
    root, splits = run.dataset_root, run.splits
    if not root.is_dir():
        raise DatasetError(f"{root}: the dataset that {run.place} refined is not there; bring it back to this place.")
    classes = list(run.taxonomy.classes)
    times, scores = _segments_of_run(run)
    wanted = {"kept", "changed", *(["unsure"] if unsure or weigh else [])}
    stems = []
    for row in run.labels.filter(pl.col("verdict").is_in(list(wanted))).iter_rows(named=True):
        labels = np.array(run.taxonomy.to_flags(run.taxonomy.parse(row["refined"])))
        if not labels.any():
            continue
        path, stream = split_stem_name(row["stem"])
        doubtful = row["verdict"] == "unsure"
        stem = TrainingStem(
            (root / path, stream or 0), row["song"], row["stem"], labels, split=splits.get(row["song"], ""),
            unsure=doubtful,
        )  # fmt: skip
        # What is in an unsure stem is uncertain at all times, so only its labels as a whole are used, unless weighed.
        places = run.segments_file.places.get(row["stem"]) if weigh or not doubtful else None
        if places is not None:
            mine = places[0] if len(places) == 1 else np.concatenate([np.arange(one.start, one.stop) for one in places])
            of_stem = np.array([row[name] for name in classes])
            possible = labels | (of_stem >= _STEM_RULED_OUT_BELOW)
            scores[mine] = np.where(possible, scores[mine], np.minimum(scores[mine], of_stem))
            stem = replace(stem, start_s=times[0][mine], stop_s=times[1][mine], scores=scores[mine])
        stems.append(stem)
    return stems


def _segments_of_run(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """All segments of a run as columns, of which training stems hold views.

    Where they start and stop, (2, segment) seconds, and their scores, (segment, class).
    """
    classes = list(run.taxonomy.classes)
    times, scores = [np.zeros((2, 0))], [np.zeros((0, len(classes)))]
    for part in run.segments_in_parts():
        times.append(part.select("start_s", "end_s").to_numpy().T)
        scores.append(part.select(classes).to_numpy().astype(float))
    return np.concatenate(times, axis=1), np.concatenate(scores)


def find_places(
    stems: Sequence[TrainingStem], store: PcmStore, segment_s: float, outputs: np.ndarray | None = None
) -> Places:
    """The places of all stems for examples of `segment_s`; the store must hold them.

    A stem that is nowhere active for long enough has one place, where it is active longest. A silent stem has none, and
    a place that may hold something of every output is left out.
    outputs: (class, output) flags, which output each class goes to; by default its own.
    """
    indices, steps, labels, right = [], [], [], []
    for index, stem in enumerate(stems):
        active = _active_steps(store.require(stem.source).power, segment_s).astype(np.int32)
        sets, sure = _labels_at(stem, active * GRID_S, segment_s + GRID_S)
        # Where every output may sound it is a mixture, and no supervision (unless there is only one).
        into = sets if outputs is None else sets @ outputs
        useful = ~into.all(axis=1) | (into.shape[1] == 1)
        indices.append(np.full(int(useful.sum()), index, np.int32))
        steps.append(active[useful])
        labels.append(sets[useful])
        right.append(sure[useful])
    return Places(*(np.concatenate(parts) for parts in (indices, steps, labels, right)))


def _active_steps(power: np.ndarray, segment_s: float) -> np.ndarray:
    """The steps of the grid at which an example of a stem can start. power: (frame,) mean square of every `LEVEL_S`."""
    active = active_frames(power)
    if not active.any():
        return np.zeros(0, np.int64)
    length = max(1, round(segment_s / LEVEL_S))
    hop = round(GRID_S / LEVEL_S)
    last = max(0, -(-(len(active) - length) // hop))
    starts = np.arange(last + 1) * hop
    so_far = np.concatenate(([0], np.cumsum(active)))
    sounding = so_far[np.minimum(starts + length, len(active))] - so_far[np.minimum(starts, len(active))]
    enough = np.flatnonzero(sounding >= _ACTIVE_SHARE * length)
    return enough if len(enough) else np.array([int(np.argmax(sounding))])


def _labels_at(stem: TrainingStem, start_s: np.ndarray, length_s: float) -> tuple[np.ndarray, np.ndarray]:
    """The classes that may sound within `length_s` from each of `start_s`, (place, class) flags.

    And (place,) the probability that no other class does.
    """
    whole = np.tile(stem.labels, (len(start_s), 1))
    if stem.scores is None or stem.start_s is None or stem.stop_s is None:
        return whole, np.ones(len(start_s))
    others = _NAMED_RULED_OUT_BELOW if stem.unsure else _OTHER_RULED_OUT_BELOW
    ruled_out_below = np.where(stem.labels, _NAMED_RULED_OUT_BELOW, others)
    # Segments are in order, so those that overlap a place are consecutive.
    first = np.searchsorted(stem.stop_s, start_s, "right")
    stop = np.searchsorted(stem.start_s, start_s + length_s, "left")
    ranges = np.stack([first, np.maximum(first, stop)], axis=1).ravel()
    highest = np.maximum.reduceat(np.pad(stem.scores, ((0, 1), (0, 0))), ranges, axis=0)[::2]
    highest[stop <= first] = 0.0
    labels = highest >= ruled_out_below
    # The stem is active there, so some class sounds; without one that is possible, the stem's own labels are used.
    labels = np.where(labels.any(axis=1, keepdims=True), labels, whole)
    return labels, np.where(labels, 1.0, 1.0 - highest).prod(axis=1)


def split_validation(
    stems: Sequence[TrainingStem], share: float, seed: int, duplicates: Mapping[str, str] | None = None
) -> tuple[list[TrainingStem], list[TrainingStem]]:
    """Splits stems by song into training stems and validation stems.

    The latter are those of the split `valid`, or else of the songs that MUSDB18 keeps aside; where there are neither,
    or they are more than half of all, of about `share` of the songs. With fewer than two songs, or a share of 0, there
    are no validation stems.

    duplicates: song -> a song that stands for all that it shares recordings with. These stay together, on the side of
    validation if one of them is of its split. Where all hang together, there are no validation stems.
    """
    songs = sorted({stem.song for stem in stems})
    together: dict[str, list[str]] = {}
    for song in songs:
        together.setdefault((duplicates or {}).get(song, song), []).append(song)
    named = {stem.song for stem in stems if stem.split == VALID} or kept_aside_in_musdb18(songs)
    meant = {song for group in together.values() if not named.isdisjoint(group) for song in group}
    if share > 0 and 0 < len(meant) <= len(songs) / 2:
        return [stem for stem in stems if stem.song not in meant], [stem for stem in stems if stem.song in meant]
    count = min(len(songs) - 1, max(1, round(share * len(songs)))) if share > 0 else 0
    chosen: set[str] = set()
    for group in np.random.default_rng([seed, 0x5E1F]).permutation(sorted(together)).tolist() if count > 0 else ():
        if len(chosen) + len(together[group]) <= count:
            chosen.update(together[group])
    if count > 0 and not chosen and len(together) > 1:
        chosen.update(together[min(together, key=lambda group: len(together[group]))])
    return (
        [stem for stem in stems if stem.song not in chosen],
        [stem for stem in stems if stem.song in chosen],
    )

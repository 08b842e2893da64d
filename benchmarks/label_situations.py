"""The situations of `labels.py`: a dataset, what was done to its labels, and the truth.

A situation is called `SOURCE-KIND-RATE`. Sources:

    band, band10     the 40 rendered songs in ../shared/data, or 10 of them
    fonts            the 28 songs of `band` that two of its three soundfonts play; the other 12 are to measure on
    takes, takesN    the 28 cut from real recordings, or N songs of them, drawn with the seed
    origins1         the stems of `takes` with recordings from the collections `FIRST_ORIGINS`; the stems from other
                     collections are to measure on
    origins2         the same the other way round
    generatedN       N songs of the band of the demo; their mixtures are compared with those of other songs of it
    sevenN           the same, as the stems of seven classes

`Scale` holds the length of generated songs, the number of others, and the length of trainings.

Kinds are those of `restem corrupt`, and `clean` (nothing), `confuse` (`swap` between bass and `other`) and `bleed`,
whose rate is the level in dB below the other stem: half of the songs have it, and those stems count as wrong, though
bleed is no label. `takes` alone has wrong labels as it is. The seed is that of the noise, and of a generated band.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import restem
from restem.dataset.table import Dataset
from restem.dataset.truth import SEGMENTS_TRUTH_FILE, read_truth
from restem.labelling.training import TrainingSettings
from restem.synth.band import render_band

SITUATIONS = (
    "band-clean", "band-regroup-0.1", "band-regroup-0.2", "band-regroup-0.3", "band-regroup-0.5", "band-swap-0.2",
    "band-swap-0.4", "band-confuse-0.4", "band-partial-0.3", "band-bleed-10", "band-bleed-20", "band-bleed-30",
    "takes-clean", "takes", "takes-regroup-0.2", "takes-regroup-0.3", "takes-regroup-0.4", "takes-swap-0.4",
    "takes8-regroup-0.3", "takes12-regroup-0.3", "takes16-regroup-0.3", "band10-regroup-0.2", "generated10-regroup-0.2",
    "generated40-clean", "generated40-regroup-0.2", "generated160-regroup-0.2", "seven40-clean", "seven40-regroup-0.2",
)  # fmt: skip
THIRD_SOUNDFONT = "song0128"  # the first song that it plays
FIRST_ORIGINS = ("Tonejs/audio", "tidalcycles/Dirt-Samples")  # two of 13 collections, and half of the stems
SEVEN = ("vocals", "drums", "bass", "guitar", "piano", "strings", "winds")


@dataclass(frozen=True)
class Scale:
    """The size of what is generated and trained for a situation.

    seconds: the length of a generated song. held_out_songs: other generated songs, to measure final classifiers on.
    mixtures: how many are made of these. classifier_steps, separator_steps: optimiser steps of a training; None lets
    them follow from the amount of audio. training: how classifiers are trained.
    """

    seconds: float = 16.0
    held_out_songs: int = 20
    mixtures: int = 2048
    classifier_steps: int | None = None
    separator_steps: int = 400
    training: TrainingSettings = field(default_factory=TrainingSettings)


FULL = Scale()
QUICK = Scale(
    seconds=4.0, held_out_songs=2, mixtures=64, classifier_steps=2, separator_steps=2,
    training=TrainingSettings(batch=8, validation_mixtures=8),
)  # fmt: skip
QUICK_SITUATIONS = ("generated4-regroup-0.2", "generated4-partial-0.3")
"""The situations of a quick run."""


@dataclass(frozen=True)
class Noisy:
    """A dataset with wrong labels. true: (song, stem) -> label set; songs and stems as `restem score` reads them.

    spoiled: whether a stem counts as wrong whatever its labels, by its name, for `bleed`. stretches: rows of stem,
    class, start and end in seconds, for `partial`. held_out: clean songs of other making or of the same, or None.
    clean: the songs before they were made noisy, where that is known.
    """

    dataset: Dataset
    true: dict[tuple[str, str], frozenset[str]]
    spoiled: frozenset[str] = frozenset()
    stretches: tuple[tuple[str, str, float, float], ...] = ()
    held_out: Dataset | None = None
    clean: Dataset | None = None

    def flags(self) -> np.ndarray:
        """(stem, class) the true labels, in the order of the dataset."""
        taxonomy = self.dataset.taxonomy
        return np.array([taxonomy.to_flags(self.true[stem.song, stem.name]) for stem in self.dataset.stems])


def make_noisy(name: str, seed: int, data: Path, work: Path, workers: int, scale: Scale = FULL) -> Noisy:
    """Makes the situation `name` in the folder `work`; what is there from an earlier call is kept."""
    if name == "takes":
        return _noisy(restem.open_dataset(data / "takes" / "noisy"), data / "takes" / "truth.csv")
    source, kind, rate = re.fullmatch(r"([a-z0-9]+)-(\w+?)(?:-([\d.]+))?", name).groups()  # type: ignore[union-attr]
    clean, held_out = _clean(source, seed, data, work, workers, scale)
    out = work / name
    how: dict[str, Any] = {"kind": kind, "rate": float(rate or 0)}
    if kind == "clean":
        how["kind"] = "regroup"
    if kind == "confuse":
        how |= {"kind": "swap", "among": ("bass", "other")}
    if kind == "bleed":
        how |= {"level_db": -float(rate), "rate": 0.0}
    restem.corrupt(clean, out, seed=seed, workers=workers, **how)
    spoiled: frozenset[str] = frozenset()
    if kind == "bleed":
        spoiled = _keep_half(clean, out, work / f"{source}-clean", seed, workers)
    noisy = _noisy(restem.open_dataset(out, taxonomy=clean.taxonomy), out / "truth.csv")
    stretches: tuple[tuple[str, str, float, float], ...] = ()
    if (out / SEGMENTS_TRUTH_FILE).exists():
        stretches = tuple(pl.read_csv(out / SEGMENTS_TRUTH_FILE).select("stem", "class", "start_s", "end_s").rows())
    return replace(noisy, spoiled=spoiled, stretches=stretches, held_out=held_out, clean=clean)


def _noisy(dataset: Dataset, truth: Path) -> Noisy:
    taxonomy = dataset.taxonomy
    true = {}
    for song, stem, labels in read_truth(truth, taxonomy).select("song", "stem", "true").iter_rows():
        true[song, stem] = true[song, f"{song}/{stem}"] = taxonomy.parse(labels or "")
    return Noisy(dataset, true)


def _clean(
    source: str, seed: int, data: Path, work: Path, workers: int, scale: Scale
) -> tuple[Dataset, Dataset | None]:
    """The clean songs of a source, and others to measure on."""
    if match := re.fullmatch(r"(generated|seven)(\d+)", source):
        taxonomy = restem.Taxonomy(SEVEN) if match[1] == "seven" else restem.Taxonomy()
        families = {name: name for name in (*SEVEN[3:], "synth", "mallets")} if match[1] == "seven" else None
        datasets = []
        for name, songs, first in ((source, int(match[2]), 1000), (f"{source}-held-out", scale.held_out_songs, 2000)):
            out = render_band(
                work / name, songs=songs, seconds=scale.seconds, seed=first + seed, workers=workers, classes=families
            )
            # Synthesizers and mallets are none of the seven classes, and are skipped.
            datasets.append(restem.open_dataset(out, layout="songs", taxonomy=taxonomy))
        return datasets[0], datasets[1]
    recorded = source.startswith(("takes", "origins"))
    clean = restem.open_dataset(data / "takes" / "clean" if recorded else data / "band")
    if source.startswith("origins"):
        halves = _by_origin(clean, data / "takes" / "credits.csv")
        return halves if source == "origins1" else halves[::-1]
    few: Collection[str] = clean.songs
    others = None
    if source == "fonts":
        few = [song for song in clean.songs if song < THIRD_SOUNDFONT]
        others = _of_songs(clean, set(clean.songs) - set(few))
    elif source == "band10":
        few = clean.songs[:: len(clean.songs) // 10][:10]
    elif source != "takes" and source.startswith("takes"):
        few = np.random.default_rng(seed).choice(clean.songs, int(source.removeprefix("takes")), replace=False).tolist()
    return _of_songs(clean, few), others


def _of_songs(dataset: Dataset, songs: Collection[str]) -> Dataset:
    return replace(dataset, stems=tuple(stem for stem in dataset.stems if stem.song in songs))


def _by_origin(clean: Dataset, credits: Path) -> tuple[Dataset, Dataset]:
    """The stems with recordings from `FIRST_ORIGINS`, and all others. No stem has some of both."""
    first = pl.read_csv(credits).filter(pl.col("repository").is_in(FIRST_ORIGINS)).select("song", "class").unique()
    chosen = set(first.rows())
    ours = tuple(stem for stem in clean.stems if (stem.song, Path(stem.name).stem) in chosen)
    others = tuple(stem for stem in clean.stems if stem not in ours)
    return replace(clean, stems=ours), replace(clean, stems=others)


def _keep_half(clean: Dataset, out: Path, untouched: Path, seed: int, workers: int) -> frozenset[str]:
    """Gives every second song of `out` its clean stems back; returns the names of the stems that stay spoiled."""
    restem.corrupt(clean, untouched, kind="regroup", rate=0.0, seed=seed, workers=workers)
    for song in clean.songs[::2]:
        for path in (untouched / song).iterdir():
            shutil.copyfile(path, out / song / path.name)
    return frozenset(stem.name for stem in restem.open_dataset(out).stems if stem.song in clean.songs[1::2])

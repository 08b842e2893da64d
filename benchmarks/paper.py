"""The paper's claims: how much a classifier loses that was trained on refined labels instead of clean ones.

    python benchmarks/paper.py --work DIR              # everything, hours; started again, it goes on
    python benchmarks/paper.py fonts-swap-0.4 --starts scratch --seeds 1
    python benchmarks/paper.py origins1-swap-0.4       # real recordings, of other collections than are measured on
    python benchmarks/paper.py generated28-swap-0.4    # on generated songs, for those without the recordings
    python benchmarks/paper.py --quick                 # shows that it works; keeps nothing

Classifiers of the same size are trained on the same songs under different labels, and measured on mixtures of songs of
another soundfont or another origin, one song at a time, with one to four of its stems. What they are trained on, the
arms:

    nothing       the classifier that comes with restem, not trained any further
    noisy         the noisy stems under the labels they were given
    paper         what `restem refine --method paper` does, from this start: the classifier of the second round
    refined       the labels that `restem refine --encoder none` finds, with the evidence of the classifier that comes
                  with restem
    data only     the labels that `restem refine --encoder none --start scratch` finds, so from the noisy data alone
    by clean      the labels that are found where clean stems taught the classifiers of `refined`
    true          the noisy stems under their true label sets, several classes in many of them
    clean         the stems as they were before

The last training starts from the classifier that comes with restem (`pretrained`) or from random weights (`scratch`).
Situations are those of `label_situations.py`. Thresholds, where it is not 0.5, are chosen on mixtures of what was
trained on, by its labels. The seed is that of the mistakes and the trainings. Intervals are over the songs measured on,
each the mean over the seeds that both arms have.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from common import DATA, HERE, keep_row, parse, read_rows
from label_methods import Situation
from label_situations import FULL, QUICK, Scale, make_noisy
from restem.demo.reference import Mixtures, listen_to_mixtures, pool_of
from restem.evaluation.metrics import agreement, auroc
from restem.evaluation.separation import paired_interval
from restem.labelling.features import Features, load_features
from restem.labelling.judging import Judged
from restem.labelling.known_labels import known_labels
from restem.labelling.mixing import SegmentPool
from restem.labelling.options import Start
from restem.labelling.pretrained import FOLDER as PRETRAINED_FOLDER
from restem.labelling.rounds import Refinement
from restem.runs.run import CLASSIFIER_FOLDER

PATH = HERE / "paper.json"
PICTURE = HERE.parent / "docs" / "images" / "paper.png"
NOISES = ("swap-0.4", "regroup-0.5", "regroup-0.2")
STARTS: tuple[Start, ...] = get_args(Start)
ACCURACY, CHOSEN = "accuracy", "accuracy, chosen thresholds"
SHOWN = (ACCURACY, CHOSEN, "macro F1", "AUROC")
PAIRS = (("refined", "clean"), ("data only", "clean"), ("paper", "clean"), ("refined", "by clean"))
THRESHOLDS = np.linspace(0.02, 0.98, 97)


@dataclass(frozen=True)
class Trained:
    """A classifier, by its folder; the segments it was trained on; the labels of the noisy stems that these came from.

    labels: (stem, class), or None where others than the noisy stems were trained on.
    """

    folder: Path
    pool: SegmentPool
    labels: np.ndarray | None = None


class Trainings(Situation):
    """A noisy dataset, its clean stems, and the trainings that the arms share."""

    @cached_property
    def clean(self) -> Features:
        assert self.noisy.clean is not None
        settings = self.settings
        return load_features(self.noisy.clean, self.store, settings.mixing.segment_s, settings.hop_s, self.executor)

    @cached_property
    def refined(self) -> tuple[Judged, np.ndarray]:
        """What restem finds, and what it would teach, (segment, class)."""
        refinement, known = self.refinement("refined"), known_labels(self.features, None)
        found = refinement.judged_in_rounds(refinement.classifier_heads(self.timed), known, self.timed)
        return found, refinement.targets(found, known)

    @cached_property
    def from_data_only(self) -> tuple[Judged, np.ndarray]:
        """The same with nothing but the noisy data."""
        refinement, known = self.refinement("data-only", start="scratch"), known_labels(self.features, None)
        found = refinement.judged_in_rounds(None, known, self.timed)
        return found, refinement.targets(found, known)

    @cached_property
    def by_clean(self) -> tuple[Judged, np.ndarray]:
        """The same with the classifiers that were trained on the clean stems of other songs."""
        refinement, known = self.refinement("by-clean"), known_labels(self.features, None)
        teacher = Refinement(
            self.clean, refinement.out, self.settings, refinement.computing, self.executor, self.config
        )
        songs = dict(zip(self.clean.songs, teacher.fold.tolist(), strict=True))
        assert songs == dict(zip(self.features.songs, refinement.fold.tolist(), strict=True))
        teacher.round(1, self.clean.given[self.clean.segments.stem].astype(np.float32), self.timed)
        # In the same folder, so what was trained is there, and the noisy stems are scored with it.
        logits = refinement.round(1, self.of_stems(self.given), self.timed)
        heads = refinement.classifier_heads(self.timed)
        assert heads is not None
        evidence = [refinement.score_with_pretrained(self.timed), logits]
        found = refinement.judged(refinement.scores(heads, evidence, known), evidence, known)
        return found, refinement.targets(found, known)

    def trained(self, name: str, start: Start, targets: np.ndarray, labels: np.ndarray) -> Trained:
        """The final classifier on the noisy stems. targets: (segment, class)."""
        refinement = self.refinement(f"{name}-{start}", start=start)
        refinement.train_final(targets, self.timed)
        return Trained(refinement.out / CLASSIFIER_FOLDER, self.features.segment_pool(targets), labels)


def nothing(trainings: Trainings, start: Start) -> Trained | None:
    if start == "scratch":
        return None
    return Trained(PRETRAINED_FOLDER, trainings.features.segment_pool(trainings.of_stems(trainings.given)))


def noisy(trainings: Trainings, start: Start) -> Trained:
    return trainings.trained("noisy", start, trainings.of_stems(trainings.given), trainings.given)


def paper(trainings: Trainings, start: Start) -> Trained:
    refinement = trainings.refinement(f"paper-{start}", method="paper", start=start)
    found = refinement.judged_as_in_the_paper(known_labels(trainings.features, None), trainings.timed)
    pool = trainings.features.segment_pool(trainings.of_stems(found.outcome.refined))
    return Trained(refinement.out / CLASSIFIER_FOLDER, pool, found.outcome.refined)


def refined(trainings: Trainings, start: Start) -> Trained:
    found, targets = trainings.refined
    return trainings.trained("refined", start, targets, found.outcome.refined)


def data_only(trainings: Trainings, start: Start) -> Trained | None:
    if start == "pretrained":
        return None
    found, targets = trainings.from_data_only
    return trainings.trained("data-only", start, targets, found.outcome.refined)


def by_clean(trainings: Trainings, start: Start) -> Trained:
    found, targets = trainings.by_clean
    return trainings.trained("by-clean", start, targets, found.outcome.refined)


def true(trainings: Trainings, start: Start) -> Trained:
    return trainings.trained("true", start, trainings.of_stems(trainings.true), trainings.true)


def clean(trainings: Trainings, start: Start) -> Trained:
    refinement = trainings.refinement("clean", start=start)
    # The same for every kind of noise.
    out = trainings.work.parent / f"{trainings.work.name.partition('-')[0]}-clean-{start}"
    on_clean = Refinement(
        trainings.clean, out, refinement.settings, refinement.computing, trainings.executor, trainings.config
    )
    targets = trainings.clean.given[trainings.clean.segments.stem].astype(np.float32)
    on_clean.train_final(targets, trainings.timed)
    return Trained(on_clean.out / CLASSIFIER_FOLDER, trainings.clean.segment_pool(targets))


ARMS: dict[str, Callable[[Trainings, Start], Trained | None]] = {
    "nothing": nothing, "noisy": noisy, "paper": paper, "refined": refined, "data only": data_only,
    "by clean": by_clean, "true": true, "clean": clean,
}  # fmt: skip


def measure(trainings: Trainings, trained: Trained) -> dict[str, Any]:
    """The figures of one classifier, shares in [0, 1]: of all songs, and the accuracies of every song."""
    others = trainings.noisy.held_out
    assert others is not None
    mixtures = trainings.scale.mixtures

    def listen(pool: SegmentPool, count: int) -> Mixtures:
        classes = trainings.config.classes
        return listen_to_mixtures(trained.folder, pool, classes, trainings.settings, count)

    thresholds = chosen_thresholds(listen(trained.pool, mixtures))
    whole = pool_of(others, trainings.settings, trainings.store, trainings.executor)
    of_song = np.array([stem.song for stem in others.stems])
    each = -(-mixtures // len(others.songs))
    by_song = [listen(whole.of_stems(of_song == song), each) for song in others.songs]
    scores, present = (np.concatenate([getattr(one, name) for one in by_song]) for name in ("scores", "true"))
    areas = [auroc(column, score) for column, score in zip(present.T, scores.T, strict=True)]
    accuracy = [float(((one.scores > 0.5) == one.true).mean()) for one in by_song]
    at_chosen = [float(((one.scores > thresholds) == one.true).mean()) for one in by_song]
    labels = trained.labels
    return {
        ACCURACY: float(np.mean(accuracy)),
        CHOSEN: float(np.mean(at_chosen)),
        "macro F1": agreement(scores > 0.5, present, trainings.config.classes).macro_f1,
        "AUROC": float(np.mean([area for area in areas if area is not None])),
        "label accuracy": None if labels is None else float((labels == trainings.true)[trainings.sounding].mean()),
        "songs": {ACCURACY: np.round(accuracy, 5).tolist(), CHOSEN: np.round(at_chosen, 5).tolist()},
    }


def chosen_thresholds(mixtures: Mixtures) -> np.ndarray:
    """(class,): the threshold of most right decisions, the one nearest to 0.5 of equally good ones."""
    right = ((mixtures.scores[:, :, None] > THRESHOLDS) == mixtures.true[:, :, None]).mean(axis=0)
    nearest_first = np.argsort(np.abs(THRESHOLDS - 0.5), kind="stable")
    found: np.ndarray = THRESHOLDS[nearest_first][right[:, nearest_first].argmax(axis=1)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("situations", nargs="*", help="as fonts-swap-0.4; by default those of the table")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, help="keep datasets, features and trainings in this folder")
    parser.add_argument("--again", action="store_true", help="compute rows anew that are there")
    arguments = parse(parser, situations=["generated4-swap-0.4"], seeds=[1])
    source = "fonts" if (arguments.data / "band").is_dir() else "generated28"
    with tempfile.TemporaryDirectory() as aside:
        work = arguments.work or Path(aside)
        path, picture = (Path(aside) / one.name if arguments.quick else one for one in (PATH, PICTURE))
        for seed in arguments.seeds:
            for name in arguments.situations or [f"{source}-{noise}" for noise in NOISES]:
                compute(name, seed, arguments, work / f"seed{seed}", path, QUICK if arguments.quick else FULL)
        print_table(read_rows(path))
        draw(read_rows(path), picture)


def compute(name: str, seed: int, arguments: argparse.Namespace, work: Path, path: Path, scale: Scale) -> None:
    """Adds the rows of one situation and one seed to the JSON file `path`."""
    there = [(row["start"], row["arm"]) for row in read_rows(path) if (row["situation"], row["seed"]) == (name, seed)]
    wanted = [
        (start, arm)
        for start in arguments.starts
        for arm in arguments.arms
        if arguments.again or (start, arm) not in there
    ]
    if not wanted:
        return
    trainings = Trainings(make_noisy(name, seed, arguments.data, work / "data", 1, scale), seed, work / name, 1, scale)
    for start, arm in wanted:
        begin = time.monotonic()
        trained = ARMS[arm](trainings, cast(Start, start))
        if trained is None:
            continue
        figures = {key: round(value, 5) if isinstance(value, float) else value
                   for key, value in measure(trainings, trained).items()}  # fmt: skip
        row = {
            "situation": name,
            "seed": seed,
            "start": start,
            "arm": arm,
            "seconds": round(time.monotonic() - begin, 1),
        }
        keep_row(path, row | figures, row_key)
        print(*row.values(), {key: value for key, value in figures.items() if key != "songs"}, flush=True)


def row_key(row: dict[str, Any]) -> tuple[Any, ...]:
    """Which row it is, and its place."""
    return row["situation"], STARTS.index(row["start"]), list(ARMS).index(row["arm"]), row["seed"]


def of_arm(rows: list[dict[str, Any]], situation: str, start: str, arm: str) -> dict[int, dict[str, Any]]:
    """The rows of an arm, by seed."""
    key = (situation, start, arm)
    return {row["seed"]: row for row in rows if (row["situation"], row["start"], row["arm"]) == key}


def of_songs(arm: dict[int, dict[str, Any]], seeds: Collection[int], figure: str = ACCURACY) -> np.ndarray:
    """(song,): an accuracy, the mean over seeds."""
    found: np.ndarray = np.mean([arm[seed]["songs"][figure] for seed in sorted(seeds)], axis=0)
    return found


def columns(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The situations and starts that there are figures of, in the order of the table."""
    found = {(row["situation"], row["start"]) for row in rows}
    noises = [*NOISES, *sorted({situation.partition("-")[2] for situation, _ in found}.difference(NOISES))]
    return sorted(found, key=lambda one: (one[0].partition("-")[0], noises.index(one[0].partition("-")[2]), one[1]))


def print_table(rows: list[dict[str, Any]]) -> None:
    """All situations and starts against all arms, means over seeds; then what lies between two arms.

    A cell with fewer seeds than its line says so.
    """
    for figure in SHOWN:
        print_line(f"{figure}, %", "seeds", *ARMS)
        print("|---" * (2 + len(ARMS)) + "|")
        for situation, start in columns(rows):
            arms = [of_arm(rows, situation, start, arm) for arm in ARMS]
            seeds = max(map(len, arms))
            print_line(f"`{situation}`, {start}", seeds, *(_cell(arm, figure, seeds) for arm in arms))
        print()
    print_line("accuracy, points (95 %)", *(f"{one} against {other}" for one, other in PAIRS))
    print("|---" * (1 + len(PAIRS)) + "|")
    for situation, start in columns(rows):
        both = [[of_arm(rows, situation, start, arm) for arm in pair] for pair in PAIRS]
        print_line(f"`{situation}`, {start}", *(_difference(*pair) for pair in both))


def print_line(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|")


def _cell(arm: dict[int, dict[str, Any]], figure: str, seeds: int) -> str:
    if not arm:
        return ""
    fewer = f" ({len(arm)})" if len(arm) < seeds else ""
    return f"{100 * np.mean([row[figure] for row in arm.values()]):.1f}{fewer}"


def _difference(one: dict[int, dict[str, Any]], other: dict[int, dict[str, Any]]) -> str:
    """One arm against another, on the seeds that both have."""
    seeds = one.keys() & other.keys()
    if not seeds:
        return ""
    mean, low, high = paired_interval(100 * (of_songs(one, seeds) - of_songs(other, seeds)))
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f}); {len(seeds)} seed{'s' * (len(seeds) > 1)}"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """The accuracy of every arm, with its interval over songs; a line where the clean stems are.

    Only of `fonts`, where there is something of it.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    fonts = [row for row in rows if row["situation"].startswith("fonts")]
    shown = columns(fonts or rows)
    starts = [start for start in STARTS if any(start == one for _, one in shown)]
    situations = list(dict.fromkeys(situation for situation, _ in shown))
    figure, axes = pyplot.subplots(
        len(starts), len(situations), figsize=(3.4 * len(situations) + 1, 2.4 * len(starts) + 0.4), sharey=True,
        sharex=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    for line, start in enumerate(starts):
        for column, situation in enumerate(situations):
            axis = axes[line, column]
            axis.tick_params(labelbottom=True)
            axis.set_visible((situation, start) in shown)
            for place, arm in enumerate(ARMS):
                by_seed = of_arm(rows, situation, start, arm)
                if not by_seed:
                    continue
                mean, low, high = paired_interval(100 * of_songs(by_seed, by_seed))
                colour = "black" if arm in ("refined", "data only") else "#2a6f97"
                axis.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color=colour, elinewidth=1)
                axis.annotate(f"{mean:.1f}", (mean, place), (0, 5), textcoords="offset points", ha="center", fontsize=8)
                if arm == "clean":
                    axis.axvline(mean, color="0.7", linewidth=1, zorder=0)
            axis.set_title(f"{situation}, {start}", fontsize=9, pad=12)
            axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_yticks(range(len(ARMS)), list(ARMS))
    axes[0, 0].invert_yaxis()
    figure.supxlabel("right decisions on mixtures of unheard songs, %", fontsize=9)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

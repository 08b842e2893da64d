"""What decisions are worth: label accuracy after so many of them, in the order of the queue and in random orders.

    python benchmarks/review.py                              # recordings in ../shared/data, or a rendered band
    python benchmarks/review.py --run RUN --truth truth.csv  # a run that is there already

A person is simulated who always decides as the truth says. There are ten random orders. Draws
docs/images/decisions.svg.

Also how many wrong labels the page says are left: 200 simulated reviews of two thirds of the songs, each with its own
random stems in the queue, which end after a random number of decisions up to half of the stems.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import restem
from common import DATA, HERE, parse, publish, song_folders
from restem.dataset.truth import read_truth
from restem.evaluation.labels import score_labels
from restem.review.queue import Queue, doubts, flags_of, informed, scores_of
from restem.review.remaining import remaining
from restem.runs.run import Run
from restem.taxonomy import LabelSet
from restem.verdicts import WITHOUT_SOUND

Truth = Mapping[str, LabelSet]
"""The true label set of each stem."""

RANDOM_ORDERS = 10
SIMULATIONS = 200
PICTURE = HERE.parent / "docs" / "images" / "decisions.svg"


def make_run(work: Path, quick: bool) -> tuple[Run, Path]:
    """Recordings with wrong labels, or else the band regrouped at 0.2, refined with the default settings."""
    noisy, truth = DATA / "takes" / "noisy", DATA / "takes" / "truth.csv"
    workers, steps = (1, 2) if quick else (None, None)
    if quick or not noisy.is_dir():
        noisy, truth = work / "noisy", work / "noisy" / "truth.csv"
        clean = restem.open_dataset(song_folders(4 if quick else 40, work, quick=quick)[0].parent)
        restem.corrupt(clean, noisy, kind="regroup", rate=0.2, seed=1, workers=workers)
    dataset = restem.open_dataset(noisy)
    return restem.refine(dataset, work / "run", steps=steps, seed=1, cache=work / "cache", workers=workers), truth


def accuracies(run: Run, right: Truth, rows: list[int]) -> list[float]:
    """Label accuracy after 0, 1, ... decisions, in the order of `rows`."""
    found = np.array([run.taxonomy.to_flags(run.taxonomy.parse(text)) for text in run.found["refined"]])
    true = np.array([run.taxonomy.to_flags(right[stem]) for stem in run.found["stem"]])
    wrong = (found != true).sum(axis=1)
    left = np.concatenate(([0], np.cumsum(wrong[rows])))
    return (1 - (wrong.sum() - left) / true.size).tolist()


@dataclass(frozen=True, eq=False)
class Reviewed:
    """What a simulated review needs. scores, given, true: (stem, class). doubt, song, wrong, sounds: (stem,)."""

    run: Run
    scores: np.ndarray
    given: np.ndarray
    true: np.ndarray
    doubt: np.ndarray
    song: np.ndarray
    wrong: np.ndarray
    sounds: np.ndarray

    @classmethod
    def of(cls, run: Run, right: Truth) -> Reviewed:
        found, taxonomy = run.found, run.taxonomy
        true = np.array([taxonomy.to_flags(right[stem]) for stem in found["stem"]], bool)
        return cls(
            run,
            scores_of(found, taxonomy),
            flags_of(found["given"], taxonomy),
            true,
            doubts(found, taxonomy),
            np.unique(found["song"].to_numpy(), return_inverse=True)[1],
            (flags_of(found["refined"], taxonomy) != true).any(axis=1),
            ~found["verdict"].is_in(WITHOUT_SOUND).to_numpy(),
        )

    def order(self, queue: Queue, most: int) -> list[int]:
        """The first rows in the order in which the page asks a person who decides as the truth says."""
        rows: list[int] = []
        doubt, settled = self.doubt.copy(), np.zeros(len(self.doubt), bool)
        while len(rows) < most:
            row, _ = queue.first(doubt, settled)
            if row is None:
                break
            rows.append(row)
            settled[row] = True
            scores = informed(self.scores, self.given, self.song, np.array(rows), self.true[rows])
            mates = self.song == self.song[row]
            doubt[mates] = doubts(self.run.found.filter(mates), self.run.taxonomy, scores[mates])
        return rows


def stopping(data: Reviewed, simulations: int) -> dict[str, Any]:
    """What the page says is left against what is left: the share of reviews in which the bound holds, and the means."""
    songs = data.song.max() + 1
    found = []
    for seed in range(simulations):
        generator = np.random.default_rng(seed)
        listen = data.sounds & np.isin(data.song, generator.permutation(songs)[: -(-2 * songs // 3)])
        decided = data.order(Queue(listen, seed), int(generator.integers(listen.sum() // 2 + 1)))
        outcome = np.full(len(listen), np.nan)
        outcome[decided] = data.wrong[decided]
        left = remaining(data.doubt[listen], outcome[listen])
        found.append((int(data.wrong[listen].sum() - data.wrong[decided].sum()), left.wrong, left.at_most))
    truth, estimate, bound = np.array(found, float).T
    return {
        "covered": float((truth <= bound).mean()),
        "left": round(float(truth.mean()), 2),
        "estimated": round(float(estimate.mean()), 2),
        "bound": round(float(bound.mean()), 2),
    }


def needed(curve: list[float], accuracy: float) -> int:
    """Decisions until an accuracy is reached."""
    return next(count for count, value in enumerate(curve) if value >= accuracy)


def draw(queue: list[float], random: np.ndarray, given: float, picture: Path) -> None:
    """Label accuracy over decisions. queue: (decision + 1,). random: (order, decision + 1)."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "restem"
    figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
    counts = np.arange(random.shape[1])
    axes.fill_between(counts, random.min(axis=0), random.max(axis=0), color="#8a93a0", alpha=0.3, lw=0)
    axes.plot(counts, random.mean(axis=0), color="#5a616d", label=f"random order ({len(random)})")
    axes.plot(counts, queue, color="#4b46c2", lw=2, label="queue")
    axes.axhline(given, color="#c2490f", lw=1, ls=":", label="given labels")
    axes.set(xlabel="decisions", ylabel="label accuracy", xlim=(0, counts[-1]))
    axes.legend(frameon=False, loc="center right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, metadata={"Date": None})


def measure(run: Run, truth_path: Path, picture: Path, simulations: int) -> dict[str, Any]:
    table = read_truth(truth_path, run.taxonomy)
    # A truth may write a stem relative to its song.
    known = {(row["song"], row["stem"].removeprefix(f"{row['song']}/")): row["true"] for row in table.to_dicts()}
    pairs = zip(run.found["song"], run.found["stem"], strict=True)
    right = {stem: run.taxonomy.parse(known[song, stem.removeprefix(f"{song}/")]) for song, stem in pairs}
    score = score_labels(run.found, table, run.taxonomy)
    data = Reviewed.of(run, right)
    listened = data.order(Queue(data.sounds), len(right))
    queue = accuracies(run, right, [*listened, *np.flatnonzero(~data.sounds).tolist()])
    generator = np.random.default_rng(0)
    orders = [generator.permutation(len(right)).tolist() for _ in range(RANDOM_ORDERS)]
    random = np.array([accuracies(run, right, rows) for rows in orders])
    draw(queue, random, score.given.label_accuracy, picture)
    return {
        "stems": len(right),
        "given": score.given.label_accuracy,
        "random order": random.mean(axis=0).round(4).tolist(),
        "queue": [round(value, 4) for value in queue],
        "stopping": stopping(data, simulations),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--truth", type=Path)
    arguments = parse(parser)
    with tempfile.TemporaryDirectory() as work:
        if arguments.run:
            run, truth = restem.open_run(arguments.run), arguments.truth
        else:
            run, truth = make_run(Path(work), arguments.quick)
        picture = Path(work) / PICTURE.name if arguments.quick else PICTURE
        figures = measure(run, truth, picture, 5 if arguments.quick else SIMULATIONS)
    tenth = figures["stems"] // 10
    claims = [("label accuracy: given", f"{figures['given']:.4f}", "")]
    for name in ("queue", "random order"):
        curve = figures[name]
        after = "  ".join(f"{curve[i * tenth]:.4f}" for i in range(3))
        claims.append((f"{name}: after 0, 10 %, 20 % of the stems", after, ""))
        claims += [
            (f"{name}: decisions until {accuracy}", str(needed(curve, accuracy)), f"of {figures['stems']}")
            for accuracy in (0.99, 1.0)
        ]
    told = figures["stopping"]
    means = f"{told['left']} / {told['estimated']} / {told['bound']}"
    claims.append(("wrong stems left / estimated / bound, means of the simulated reviews", means, ""))
    claims.append(("reviews in which no more are left than the bound says", f"{told['covered']:.3f}", ">= 0.95"))
    publish("review", claims, figures, quick=arguments.quick)


if __name__ == "__main__":
    main()

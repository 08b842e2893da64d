"""The figures of `separation.py`: its rows as a table beside what is asked, and as two pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from restem.evaluation.separation import paired_interval

CLEAN, MAIN = "clean", "regroup-0.3"
NOISES = (CLEAN, "regroup-0.1", "regroup-0.2", MAIN, "regroup-0.5", "swap-0.3")
ALL = ("given", "refined", "by clean", "true", "clean", "split")
DOSE = ("given", "refined", "true")
TRUNCATED_TOO = ("given", "refined", "true", "clean")

Rows = list[dict[str, Any]]


def of_songs(rows: Rows, noise: str, labels: str, truncated: bool = False, class_name: str | None = None) -> np.ndarray:
    """(song,) the SDR, the mean over seeds and (unless one is named) classes; empty without rows.

    Clean stems are the same whatever the noise, and what is given or true of them is what they are.
    """
    if labels == "clean" or (noise == CLEAN and labels in ("given", "true")):
        noise, labels = CLEAN, "clean"
    tables = [
        pl.DataFrame(row["songs"])
        for row in rows
        if (row["noise"], row["labels"], row["truncated"]) == (noise, labels, truncated)
    ]
    if not tables:
        return np.zeros(0)
    table = pl.concat(tables)
    if class_name is not None:
        table = table.filter(pl.col("class") == class_name)
    return table.group_by("song").agg(pl.col("sdr").mean()).sort("song")["sdr"].to_numpy()


def seeds_of(rows: Rows, noise: str, labels: str, truncated: bool = False) -> list[int]:
    """The seeds that there are rows of."""
    if labels == "clean" or (noise == CLEAN and labels in ("given", "true")):
        noise, labels = CLEAN, "clean"
    return [
        row["seed"] for row in rows if (row["noise"], row["labels"], row["truncated"]) == (noise, labels, truncated)
    ]


def paired(rows: Rows, noise: str, *sides: tuple[str, bool]) -> tuple[list[np.ndarray], int]:
    """`of_songs` of several sides, (labels, truncated), on the seeds that all of them have; and how many these are."""
    seeds = set.intersection(*(set(seeds_of(rows, noise, *side)) for side in sides))
    mine = [row for row in rows if row["seed"] in seeds]
    return [of_songs(mine, noise, *side) for side in sides], len(seeds)


def difference(better: np.ndarray, worse: np.ndarray) -> str:
    mean, low, high = paired_interval(better - worse)
    return f"{mean:+.2f} dB ({low:+.2f} to {high:+.2f})"


def show(rows: Rows) -> None:
    """Prints what was measured next to what is asked."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "seeds", "measured", "target", title="separation", title_justify="left")
    for claim in [*_levels(rows), *_comparisons(rows)]:
        table.add_row(*claim)
    Console().print(table)


def _levels(rows: Rows) -> list[tuple[str, str, str, str]]:
    """The SDR of the mixture and of every training."""
    first = pl.DataFrame(rows[0]["songs"])
    classes = first["class"].unique(maintain_order=True).to_list()
    baseline = {name: _mean(first.filter(pl.col("class") == name)["mixture_sdr"]) for name in classes}
    found = [("the mixture itself", "", _listed(sum(baseline.values()) / len(classes), baseline), "")]
    for noise, labels, truncated in dict.fromkeys((row["noise"], row["labels"], row["truncated"]) for row in rows):
        by_class = {name: float(of_songs(rows, noise, labels, truncated, name).mean()) for name in classes}
        name = _name(noise, labels, truncated)
        seeds = str(len(seeds_of(rows, noise, labels, truncated)))
        found.append((name, seeds, _listed(float(of_songs(rows, noise, labels, truncated).mean()), by_class), ""))
        if (noise, labels, truncated) == (MAIN, "refined", False):
            least = min(classes, key=lambda one: by_class[one] - baseline[one])
            gain = f"{by_class[least] - baseline[least]:+.2f} dB ({least})"
            found.append((f"{name}, least gain over the mixture", seeds, gain, "above 0"))
    return found


def _comparisons(rows: Rows) -> list[tuple[str, str, str, str]]:
    """Differences between trainings on the same songs, with intervals, and shares of gaps."""
    noises = list(dict.fromkeys(row["noise"] for row in rows if row["noise"] != CLEAN))
    pairs = [(noise, ("refined", False), ("given", False), "interval above 0") for noise in noises]
    pairs += [(noise, ("refined", False), ("true", False), "") for noise in noises]
    pairs += [
        (MAIN, ("refined", True), ("given", True), "interval above 0"),
        (MAIN, ("refined", False), ("given", True), ""),
        (MAIN, ("refined", False), ("by clean", False), "above 0, says the paper"),
        (MAIN, ("split", False), ("refined", False), "0 or more"),
    ]
    found = []
    for noise, better, worse, target in pairs:
        sides, seeds = paired(rows, noise, better, worse)
        if seeds:
            what = f"{_name(noise, *better)} against {_label(*worse)}"
            found.append((what, str(seeds), difference(*sides), target))
    for truncated in (False, True):
        ends = [of_songs(rows, MAIN, labels, truncated) for labels in ("given", "refined", "true", "clean")]
        if all(map(len, ends)):
            given, refined, true, clean = (float(end.mean()) for end in ends)
            for labels, value, target in (("refined", refined, ">= 67 %"), ("true", true, "")):
                share = f"{100 * (value - given) / (clean - given):.0f} %"
                what = f"of the gap given to clean, {_label(labels, truncated)} closes"
                found.append((what, str(len(seeds_of(rows, MAIN, labels, truncated))), share, target))
    return found


def _label(labels: str, truncated: bool) -> str:
    return f"{labels}, truncated" if truncated else labels


def _name(noise: str, labels: str, truncated: bool) -> str:
    return _label(labels, truncated) if labels == "clean" else f"{noise}: {_label(labels, truncated)}"


def _mean(values: pl.Series) -> float:
    """The mean of what is not null."""
    return float(np.mean(values.drop_nulls().to_numpy()))


def _listed(mean: float, by_class: dict[str, float]) -> str:
    return f"{mean:.2f} dB ({', '.join(f'{name} {value:.2f}' for name, value in by_class.items())})"


def plot_labels(rows: Rows, path: Path) -> None:
    """The SDR under all labels at one noise, with and without truncation: a bar each, a dot for every seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for offset, truncated, colour, label in (
        (-0.2, False, "#2a6f97", "all losses"),
        (0.2, True, "#e09f3e", "largest losses ignored"),
    ):
        places = [place for place, labels in enumerate(ALL) if len(of_songs(rows, MAIN, labels, truncated))]
        heights = [float(of_songs(rows, MAIN, ALL[place], truncated).mean()) for place in places]
        bars = axes.bar(np.array(places) + offset, heights, 0.36, color=colour, label=label)
        axes.bar_label(bars, [f"{height:.2f}" for height in heights], label_type="center", color="white", fontsize=9)
        for place in places:
            dots = [of_songs(_of_seed(rows, seed), MAIN, ALL[place], truncated) for seed in (1, 2, 3)]
            means = [float(dot.mean()) for dot in dots if len(dot)]
            axes.plot(np.full(len(means), place + offset), means, "o", color="black", markersize=3, alpha=0.6)
    names = ["given labels", "refined labels", "refined by\nclean stems", "true labels", "clean stems", "split stems"]
    axes.set_xticks(range(len(ALL)), names)
    axes.set_ylabel("SDR on unheard songs, dB")
    axes.margins(y=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", ncols=2)
    figure.savefig(path, dpi=150)


def _of_seed(rows: Rows, seed: int) -> Rows:
    return [row for row in rows if row["seed"] == seed]


def plot_doses(rows: Rows, path: Path) -> None:
    """The SDR by the share of sources that were moved, against clean stems, with 95 % intervals over songs."""
    from matplotlib.figure import Figure

    if not seeds_of(rows, CLEAN, "clean"):
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    kinds = {"regroup": "-o", "swap": "s"}
    colours = {"given": "#bc4749", "refined": "#2a6f97", "true": "#6a994e"}
    for labels, colour in colours.items():
        for kind, style in kinds.items():
            doses = _doses(rows, kind, labels)
            if not doses:
                continue
            both = [paired(rows, noise, (labels, False), ("clean", False))[0] for _, noise in doses]
            losses = [paired_interval(one - clean) for one, clean in both]
            means = np.array([mean for mean, _, _ in losses])
            reach = np.abs(np.array([[low, high] for _, low, high in losses]).T - means)
            places = [dose + 0.004 * (list(colours).index(labels) - 1) for dose, _ in doses]
            name = f"{labels} labels" if kind == "regroup" else f"{labels}, stems swapped"
            axes.errorbar(places, means, reach, fmt=style, color=colour, capsize=3, markersize=5, label=name)
    axes.axhline(0.0, color="grey", linewidth=0.8)
    axes.set_xlabel("probability that a source is in a wrong stem")
    axes.set_ylabel("SDR on unheard songs\nagainst clean stems, dB")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left")
    figure.savefig(path, dpi=150)


def _doses(rows: Rows, kind: str, labels: str) -> list[tuple[float, str]]:
    """(dose, noise), where there are rows; without noise, both kinds are clean stems."""
    noises = {row["noise"] for row in rows if row["noise"].startswith(f"{kind}-")}
    doses = sorted((float(noise.rpartition("-")[2]), noise) for noise in noises if len(of_songs(rows, noise, labels)))
    clean = [(0.0, CLEAN)] if kind == "regroup" and len(of_songs(rows, CLEAN, labels)) else []
    return clean + doses

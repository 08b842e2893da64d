"""What every part of the decision is worth: refinements of `labels.py` with one part left out at a time.

    python benchmarks/labels.py --work DIR --methods single restem
    python benchmarks/ablations.py --work DIR

The trainings are those that `labels.py` left in DIR; what is missing there is trained. Label accuracy and AUROC are
in percent, the last column is the mean log loss of the probabilities in `labels.csv`, in thousandths of a nat.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common import DATA, HERE, machine, parse
from label_methods import Judged, Situation
from label_situations import FULL, QUICK, QUICK_SITUATIONS, make_noisy
from labels import measure
from restem.files import write_json
from restem.labelling.augmentation import EffectSettings
from restem.labelling.decision_settings import DecisionSettings

SITUATIONS = (
    "band-regroup-0.2", "band-regroup-0.5", "band-swap-0.4", "band-partial-0.3", "band10-regroup-0.2", "takes",
    "takes-regroup-0.2", "takes-clean",
)  # fmt: skip
FIGURES = ("label accuracy", "AUROC", "log loss")

Decide = Callable[[Situation], Judged]


def evidence(situation: Situation) -> list[np.ndarray]:
    return [*situation.pretrained, situation.out_of_fold]


def whole(situation: Situation) -> Judged:
    """As it is."""
    return situation.decided(evidence(situation))[0]


def no_pretrained(situation: Situation) -> Judged:
    """Trainings start from the pretrained classifier, but its own scores are no evidence."""
    return situation.decided([situation.out_of_fold])[0]


def only_pretrained(situation: Situation) -> Judged:
    """Nothing is trained on the dataset."""
    return situation.decided(situation.pretrained)[0]


def in_fold(situation: Situation) -> Judged:
    """Stems are scored by a classifier that was trained on them."""
    return situation.decided([*situation.pretrained, situation.alone])[0]


def effects(situation: Situation) -> Judged:
    """The trainings' mixtures also go through likenesses of compression, reverberation and distortion."""
    mixing = replace(situation.settings.mixing, effects=EffectSettings())
    refinement = situation.refinement("effects", mixing=mixing)
    found = refinement.round(1, situation.of_stems(situation.given), situation.timed)
    return situation.decided([*situation.pretrained, found])[0]


def median_pooling(situation: Situation) -> Judged:
    """A stem's score is the median of its segments'."""
    return situation.decided(evidence(situation), pool_quantile=0.5)[0]


def changed(**values: Any) -> Decide:
    """As it is, with other settings of the decision."""
    return lambda situation: situation.decided(evidence(situation), decision=DecisionSettings(**values))[0]


def apart(situation: Situation) -> Judged:
    """A song for every stem."""
    stems = situation.dataset.stems
    alone = replace(
        situation.dataset, stems=tuple(replace(stem, song=str(number)) for number, stem in enumerate(stems))
    )
    return situation.decided(evidence(situation), features=replace(situation.features, dataset=alone))[0]


VARIANTS: dict[str, Decide] = {
    "all of it": whole,
    "without the pretrained classifier's scores": no_pretrained,
    "the pretrained classifier alone, nothing trained": only_pretrained,
    "stems scored by what was trained on them (no folds)": in_fold,
    "effects on mixtures": effects,
    "median of segments instead of the 0.93 quantile": median_pooling,
    "stems of a song do not compete": apart,
    "labels believed (one round)": changed(rounds=1),
    "one belief about how often labels are right, 0.97": changed(held=(0.97,), held_weights=(1.0,)),
    "classes have nothing in common": changed(spreads_alike=1e-3, rates_alike=1.0),
    "a stem may hold nothing": changed(nothing=1.0),
}


def log_loss(situation: Situation, judged: Judged) -> float:
    assert judged.probabilities is not None
    sounding = situation.sounding
    likely = np.clip(judged.probabilities[sounding], 1e-6, 1.0 - 1e-6)
    return float(-np.log(np.where(situation.true[sounding], likely, 1.0 - likely)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("situations", nargs="*", default=SITUATIONS)
    parser.add_argument("--work", type=Path, help="where labels.py kept its trainings")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    arguments = parse(parser, situations=QUICK_SITUATIONS[:1], seeds=[1])
    if arguments.work is None and not arguments.quick:
        parser.error("--work is needed.")
    with tempfile.TemporaryDirectory() as aside:
        rows = measure_variants(arguments, arguments.work or Path(aside))
    if not arguments.quick:
        write_json(HERE / "ablations.json", {"rows": rows, "machine": machine()})
    print_table(rows, arguments.situations)


def measure_variants(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One row per situation, seed and variant."""
    scale = QUICK if arguments.quick else FULL
    rows: list[dict[str, Any]] = []
    for name in arguments.situations:
        for seed in arguments.seeds:
            work = folder / f"seed{seed}"
            noisy = make_noisy(name, seed, arguments.data, work / "data", arguments.workers, scale)
            situation = Situation(noisy, seed, work / name, arguments.workers, scale)
            for variant in arguments.variants:
                judged = VARIANTS[variant](situation)
                figures = {**measure(situation, judged), "log loss": log_loss(situation, judged)}
                kept = {figure: figures[figure] for figure in FIGURES}
                rows.append({"situation": name, "seed": seed, "variant": variant, **kept})
            print(name, seed, flush=True)
    return rows


def print_table(rows: list[dict[str, Any]], names: tuple[str, ...]) -> None:
    """A line a variant: label accuracies by situation, and the means of everything."""

    def mean(variant: str, figure: str, name: str | None = None) -> float:
        mine = [row for row in rows if row["variant"] == variant and name in (None, row["situation"])]
        return float(np.mean([row[figure] for row in mine if row[figure] is not None]))

    print("| |", " | ".join(names), "| mean | AUROC | log loss |")
    print("|---" * (len(names) + 4) + "|")
    for variant in dict.fromkeys(row["variant"] for row in rows):
        cells = [f"{100 * mean(variant, 'label accuracy', name):.1f}" for name in names]
        cells.append(f"{100 * mean(variant, 'label accuracy'):.1f}")
        cells += [f"{100 * mean(variant, 'AUROC'):.1f}", f"{1000 * mean(variant, 'log loss'):.0f}"]
        print(f"| {variant} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()

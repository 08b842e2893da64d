"""Scoring a run's labels against the truth: hand-made cases, degenerate ones, and tables that do not fit."""

import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from sklearn import metrics as sk

from restem.cli.comparisons import print_score
from restem.errors import DatasetError, RunError
from restem.evaluation.labels import LabelScore, score, score_labels
from restem.runs.run import write_run
from restem.runs.tables import labels_schema
from restem.taxonomy import Taxonomy

TAXONOMY = Taxonomy()
Row = tuple[str, str, str, str, float | None]  # given, refined, true, verdict, quality


def tables(rows: list[Row], song: str = "s") -> tuple[pl.DataFrame, pl.DataFrame]:
    """A labels and a truth table, one stem a row: `s/0.wav`, `s/1.wav`, ..."""
    labels = pl.DataFrame(
        [
            (song, f"{song}/{i}.wav", given, refined, verdict, quality, *[0.5] * len(TAXONOMY), 4.0, 3.0)
            for i, (given, refined, _, verdict, quality) in enumerate(rows)
        ],
        schema=labels_schema(TAXONOMY),
        orient="row",
    )
    truth = pl.DataFrame(
        [(song, f"{song}/{i}.wav", row[0], row[2]) for i, row in enumerate(rows)],
        schema=dict.fromkeys(("song", "stem", "given", "true"), pl.String),
        orient="row",
    )
    return labels, truth


def scored(rows: list[Row]) -> LabelScore:
    return score_labels(*tables(rows), TAXONOMY)


MIXED: list[Row] = [
    ("drums", "drums", "drums", "kept", 0.9),
    ("bass", "bass+drums", "drums+bass", "changed", 0.1),  # wrong and found; another order is the same set
    ("vocals", "other", "vocals", "changed", 0.3),  # right, and spoilt
    ("other", "other", "", "unsure", 0.3),  # wrong and doubted, but not found
    ("bass", "", "", "silent", 0.0),  # wrong and found
    ("drums", "drums", "bass", "failed", None),  # wrong, never heard
]


def test_mixed_by_hand() -> None:
    result = scored(MIXED)
    # Wrong decisions: given 1 (drums missing) + 1 (other) + 1 (bass) + 2; refined 2 (the spoilt one) + 1 + 2.
    assert result.given.label_accuracy == pytest.approx(1 - 5 / 24)
    assert result.refined.label_accuracy == pytest.approx(1 - 5 / 24)
    assert result.given.exact_accuracy == pytest.approx(2 / 6)
    assert result.refined.exact_accuracy == pytest.approx(3 / 6)
    finding = result.finding
    assert (finding.wrong, finding.found, finding.unscored) == (4, 3, 1)
    assert finding.precision == pytest.approx(2 / 3)
    assert finding.recall == pytest.approx(2 / 4)
    wrong, doubt = [0, 1, 0, 1, 1], [0.1, 0.9, 0.7, 0.7, 1.0]
    assert finding.auroc == pytest.approx(sk.roc_auc_score(wrong, doubt))
    assert finding.average_precision == pytest.approx(sk.average_precision_score(wrong, doubt))
    assert result.verdicts == {
        "kept": pytest.approx(1 / 6),
        "changed": pytest.approx(2 / 6),
        "unsure": pytest.approx(1 / 6),
        "silent": pytest.approx(1 / 6),
        "failed": pytest.approx(1 / 6),
    }
    assert result.sure == 3
    assert result.sure_label_accuracy == pytest.approx(1 - 2 / 12)
    assert result.sure_exact_accuracy == pytest.approx(2 / 3)
    assert result.other_given == 0


def test_all_right() -> None:
    result = scored([("drums", "drums", "drums", "kept", 1.0), ("bass", "bass", "bass", "kept", 0.9)])
    assert result.given.label_accuracy == result.refined.exact_accuracy == 1
    assert result.refined.macro_f1 == 0.5  # vocals and other are nowhere: 0 each, as in scikit-learn
    assert result.finding.wrong == result.finding.found == 0
    assert result.finding.precision is result.finding.recall is None
    assert result.finding.auroc is result.finding.average_precision is None


def test_all_wrong_and_nothing_found() -> None:
    result = scored([("drums", "drums", "bass", "kept", 1.0), ("bass", "bass", "drums", "unsure", 0.4)])
    assert result.refined.exact_accuracy == 0
    assert (result.finding.precision, result.finding.recall, result.finding.auroc) == (None, 0, None)


def test_one_stem() -> None:
    result = scored([("drums", "bass", "bass", "changed", 0.2)])
    assert result.refined.exact_accuracy == 1
    assert (result.finding.precision, result.finding.recall, result.finding.auroc) == (1, 1, None)


def test_all_failed() -> None:
    result = scored([("drums", "drums", "bass", "failed", None), ("bass", "bass", "bass", "failed", float("nan"))])
    assert result.finding.unscored == 2
    assert result.finding.auroc is result.sure_label_accuracy is result.sure_exact_accuracy is None
    assert (result.finding.wrong, result.finding.recall) == (1, 0)


def test_empty_label_sets() -> None:
    result = scored([("", "", "", "silent", 1.0), (None, None, "", "silent", 1.0)])  # type: ignore[list-item]
    assert result.refined.label_accuracy == result.refined.exact_accuracy == 1
    assert result.refined.macro_f1 == 0
    assert result.finding.wrong == 0


def test_the_order_of_the_tables_does_not_matter() -> None:
    labels, truth = tables(MIXED)
    shuffled = truth.sample(fraction=1, shuffle=True, seed=1)
    assert score_labels(labels, shuffled, TAXONOMY) == score_labels(labels, truth, TAXONOMY)


def test_stems_of_the_truth_may_be_relative_to_their_song() -> None:
    labels, truth = tables(MIXED)
    short = truth.with_columns(pl.col("stem").str.strip_prefix("s/"))
    assert score_labels(labels, short, TAXONOMY) == score_labels(labels, truth, TAXONOMY)


def test_other_given_labels_are_counted_and_not_used() -> None:
    labels, truth = tables(MIXED)
    other = truth.with_columns(given=pl.lit("vocals"))
    result = score_labels(labels, other, TAXONOMY)
    assert result.other_given == 5
    assert result.given == score_labels(labels, truth, TAXONOMY).given
    assert "5 of 6 stems" in printed(result)


def test_stems_that_do_not_fit() -> None:
    labels, truth = tables(MIXED)
    with pytest.raises(RunError, match=r"s: the run lacks the stem 's/4\.wav'"):
        score_labels(labels.head(4), truth, TAXONOMY)
    with pytest.raises(DatasetError, match=r"s: the truth lacks the stem 's/2\.wav'"):
        score_labels(labels, truth.head(2), TAXONOMY)
    with pytest.raises(DatasetError, match="twice"):
        twice = truth.head(1).with_columns(stem=pl.lit("0.wav"))
        score_labels(labels, pl.concat([truth, twice]), TAXONOMY)
    with pytest.raises(DatasetError, match="Nothing to score"):
        score_labels(labels.clear(), truth.clear(), TAXONOMY)


def test_given_and_refined_accuracy_against_scikit_learn_on_many_stems() -> None:
    rng = np.random.default_rng(0)
    sets = ["", "vocals", "drums", "drums+bass", "vocals+other", "vocals+drums+bass+other"]
    rows: list[Row] = [(*rng.choice(sets, 3), "changed", round(float(rng.random()), 1)) for _ in range(300)]  # type: ignore[misc]
    result = scored(rows)
    given, refined, true = (
        np.array([TAXONOMY.to_flags(TAXONOMY.parse(str(row[i]))) for row in rows]) for i in range(3)
    )
    assert result.refined.macro_f1 == pytest.approx(sk.f1_score(true, refined, average="macro", zero_division=0))
    wrong, found = (given != true).any(axis=1), (refined != given).any(axis=1)
    assert result.finding.precision == pytest.approx(sk.precision_score(wrong, found))
    assert result.finding.recall == pytest.approx(sk.recall_score(wrong, found))
    assert result.finding.auroc == pytest.approx(sk.roc_auc_score(wrong, [1 - row[4] for row in rows]))  # type: ignore[operator]


def test_score_reads_run_and_truth(tmp_path: Path) -> None:
    labels, truth = tables(MIXED)
    segments = pl.DataFrame(schema=dict.fromkeys(["song", "stem"], pl.String)).with_columns(
        pl.lit(0.0).alias(name) for name in ("start_s", "end_s", "level_db", *TAXONOMY.classes)
    )
    description = {"dataset": {"root": "/d", "classes": list(TAXONOMY.classes), "aliases": {}}}
    run = write_run(tmp_path / "run", TAXONOMY, labels, segments, description)
    truth.write_csv(tmp_path / "truth.csv")
    assert score(run, tmp_path / "truth.csv") == score_labels(labels, truth, TAXONOMY)


def test_as_dict_is_json() -> None:
    content = scored(MIXED).as_dict()
    again = json.loads(json.dumps(content, allow_nan=False))
    assert again == content
    assert again["refined"]["classes"]["drums"]["present"] == 2
    assert again["finding"]["unscored"] == 1


def printed(result: LabelScore) -> str:
    console = Console(file=io.StringIO(), width=100)
    print_score(result, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_print_score_says_everything() -> None:
    output = printed(scored(MIXED))
    for words in ("label accuracy", "exact-match", "macro F1", "AUROC", "average precision", "vocals", "16.7% silent"):
        assert words in output
    assert "0.792" in output
    assert "–" in printed(scored([("drums", "drums", "drums", "kept", 1.0)]))

"""A run folder: everything one refinement found, as tables.

    RUN/labels.csv         one row per stem: song, stem, given, refined, verdict, quality,
                           <class>..., seconds, active_seconds
    RUN/segments.parquet   one row per segment: song, stem, start_s, end_s, level_db, <class>...
    RUN/classifier/        model.safetensors, config.json
    RUN/run.json           configuration, seed, versions, dataset, wall time of each stage
    RUN/report.html
    RUN/decisions.sqlite   people's decisions, see `restem.runs.ledger`
    RUN/found.csv          from the first decision on: labels.csv as the classifiers left it; labels.csv then includes
                           the decisions

`<class>...` are the scores, one column per class in taxonomy order. A stem that failed has no scores, no quality and
no durations (empty cells), and keeps its given labels.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from restem.dataset.layouts import open_dataset
from restem.dataset.table import Dataset, check_outside, check_relative
from restem.errors import DatasetError, RestemError, RunError
from restem.files import write_json, written_aside
from restem.notebook import html_table
from restem.runs.decided import Decided, decided_labels, decided_segments, settle
from restem.runs.ledger import Decision, Ledger, read_decisions, write_decisions
from restem.taxonomy import Taxonomy
from restem.verdicts import MEANINGS, VERDICTS, count_verdicts
from restem.wording import counted

LABELS_FILE = "labels.csv"
FOUND_FILE = "found.csv"
SEGMENTS_FILE = "segments.parquet"
DESCRIPTION_FILE = "run.json"
CLASSIFIER_FOLDER = "classifier"
REPORT_FILE = "report.html"


def labels_schema(taxonomy: Taxonomy) -> dict[str, type[pl.DataType]]:
    """The columns of `labels.csv` and their types, in order."""
    return {
        "song": pl.String,
        "stem": pl.String,
        "given": pl.String,
        "refined": pl.String,
        "verdict": pl.String,
        "quality": pl.Float64,
        **dict.fromkeys(taxonomy.classes, pl.Float64),
        "seconds": pl.Float64,
        "active_seconds": pl.Float64,
    }


def segments_schema(taxonomy: Taxonomy) -> dict[str, type[pl.DataType]]:
    """The columns of `segments.parquet` and their types, in order."""
    return {
        "song": pl.String,
        "stem": pl.String,
        "start_s": pl.Float64,
        "end_s": pl.Float64,
        "level_db": pl.Float32,
        **dict.fromkeys(taxonomy.classes, pl.Float32),
    }


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A finished run, read back.

    `labels` and `segments` hold what people decided; what the classifiers found, without that, is in `found` and
    `found_segments`.

    Attributes
    ----------
    path
        The folder of the run.
    taxonomy
        The classes of its dataset.
    description
        What `run.json` holds: settings, seed, versions, dataset, wall times.
    labels
        The table `labels.csv`, one row per stem.
    decisions
        What people decided: what stood when the run was opened, in the order in which it was decided.

    Examples
    --------
    >>> run = restem.open_run("run")
    >>> run.labels.columns[:6]
    ['song', 'stem', 'given', 'refined', 'verdict', 'quality']
    """

    path: Path
    taxonomy: Taxonomy
    description: Mapping[str, Any]
    labels: pl.DataFrame
    decisions: tuple[Decision, ...] = ()

    def __repr__(self) -> str:
        counts = count_verdicts(self.labels["verdict"])
        verdicts = ", ".join(f"{count:,} {verdict}" for verdict, count in counts.items() if count)
        stems = counted(len(self.labels), "stem")
        return f"Run({self.path.name!r}, {stems}{': ' if verdicts else ''}{verdicts})"

    def _repr_html_(self) -> str:
        rows = [
            (verdict, count, MEANINGS[verdict].short)
            for verdict, count in count_verdicts(self.labels["verdict"]).items()
        ]
        return html_table(f"Run({self.path.name!r})", ("verdict", "stems", "meaning"), rows)

    @cached_property
    def decided(self) -> dict[str, Decided]:
        """The decisions about each stem, combined: stem name -> `Decided`."""
        return settle(self.decisions, self.taxonomy)

    @cached_property
    def segments(self) -> pl.DataFrame:
        """The scores over time."""
        return decided_segments(self.found_segments, self.decided, self.taxonomy)

    @cached_property
    def found(self) -> pl.DataFrame:
        """The labels as the classifiers left them."""
        return _read_found(self.path, self.taxonomy)

    @cached_property
    def found_segments(self) -> pl.DataFrame:
        """The scores over time as the classifiers left them."""
        try:
            return pl.read_parquet(self.path / SEGMENTS_FILE)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise RunError(f"{self.path / SEGMENTS_FILE}: cannot be read; run `restem refine` again.") from error

    @property
    def dataset_root(self) -> Path:
        """The root of the refined dataset."""
        return Path(self.description["dataset"]["root"])

    @property
    def out_of_fold(self) -> bool:
        """Whether every stem was scored by classifiers that were not trained on its song."""
        return bool(self.description.get("out_of_fold", True))

    def to_cleanlab(self) -> tuple[list[list[int]], np.ndarray]:
        """The given labels and the scores as `cleanlab` has them, to use its methods on a run.

        Returns
        -------
        labels
            For each stem that did not fail, in the order of `found`, the numbers of its given classes.
        pred_probs
            (stem, class) their scores, as the classifiers left them. They count the given label as evidence, which
            cleanlab's theory does not: it finds fewer issues than with scores of the sound alone.

        Examples
        --------
        >>> from cleanlab.multilabel_classification.filter import find_label_issues
        >>> run = restem.open_run("run")
        >>> issues = find_label_issues(*run.to_cleanlab())
        """
        from restem.runs.interchange import cleanlab_arrays

        return cleanlab_arrays(self.found, self.taxonomy)

    def check_outside(self, *paths: Path | str) -> None:
        """Raises DatasetError when one of the paths lies in the dataset that was refined, which is never written to."""
        check_outside(self.dataset_root, *paths)


def open_run(path: Path | str) -> Run:
    """Reads a run back.

    Parameters
    ----------
    path
        The folder of the run.

    Returns
    -------
    Run
        The run, with what people decided about it by now.

    Raises
    ------
    RunError
        When the folder holds no run, an unfinished one, or a damaged one.
    """
    path = Path(path)
    description_path = path / DESCRIPTION_FILE
    if not path.is_dir():
        raise RunError(f"{path}: no such run folder; make one with `restem refine DATASET --out {path}`.")
    try:
        description = json.loads(description_path.read_text(encoding="utf-8"))
        dataset = description["dataset"]
        taxonomy = Taxonomy(tuple(dataset["classes"]), dataset["aliases"])
    except FileNotFoundError as error:
        raise RunError(
            f"{path}: holds no finished run ({DESCRIPTION_FILE} is missing); run `restem refine` again to go on."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RestemError) as error:
        raise RunError(f"{description_path}: is damaged; run `restem refine` again.") from error
    # Not labels.csv: it may have been edited or not completely written; the database is authoritative.
    found = _read_found(path, taxonomy)
    decisions = Ledger(path).standing()
    labels = decided_labels(found, settle(decisions, taxonomy), taxonomy)
    return Run(path, taxonomy, description, labels, decisions)


def opened_run(run: Run | Path | str) -> Run:
    """`run` itself, or the one in the folder of this path; raises as `open_run` does."""
    return run if isinstance(run, Run) else open_run(run)


def opened_data(data: Dataset | Run | Path | str) -> Dataset | Run:
    """`data` itself, or the run or dataset at this path; raises as `open_run` and `open_dataset` do."""
    if isinstance(data, Path | str):
        return open_run(data) if (Path(data) / DESCRIPTION_FILE).exists() else open_dataset(data)
    return data


def record(run: Run, decisions: Sequence[Decision]) -> list[int]:
    """Records `decisions` about `run` and rewrites its `labels.csv`; returns their numbers in the ledger."""
    numbers = Ledger(run.path).add(decisions)
    write_decided(run)
    return numbers


def write_decided(run: Run) -> None:
    """Rewrites `labels.csv` of `run`: what the classifiers found, with the standing decisions applied."""
    ledger = Ledger(run.path)
    # One writer at a time, or an older table could overwrite a newer one.
    with ledger.writing():
        if not (run.path / FOUND_FILE).exists():
            with written_aside(run.path / FOUND_FILE) as aside:
                shutil.copyfile(run.path / LABELS_FILE, aside)
        labels = decided_labels(run.found, settle(ledger.standing(), run.taxonomy), run.taxonomy)
        with written_aside(run.path / LABELS_FILE) as aside:
            labels.write_csv(aside, float_precision=6)


def export_decisions(run: Run | Path | str, out: Path | str) -> int:
    """Writes what people decided about a run to a CSV.

    Parameters
    ----------
    run
        A run, or its folder.
    out
        The CSV; its columns are defined in [formats](formats.md).

    Returns
    -------
    int
        How many decisions there are; those that were taken back are not among them.

    Raises
    ------
    RunError
        When the run cannot be read.
    DatasetError
        When `out` lies in the dataset.
    """
    run = opened_run(run)
    run.check_outside(out)
    decisions = Ledger(run.path).standing()
    write_decisions(Path(out), decisions)
    return len(decisions)


def import_decisions(run: Run | Path | str, path: Path | str) -> int:
    """Adds the decisions in a CSV to those about a run.

    A decision that is there already is not added again, so the same file may be imported twice.

    Parameters
    ----------
    run
        A run, or its folder.
    path
        The CSV, with the columns `song,stem,new` at least.

    Returns
    -------
    int
        How many decisions were new.

    Raises
    ------
    DatasetError
        When the file cannot be read, or is about a stem that the run lacks.
    RunError
        When the run cannot be read.
    """
    run = opened_run(run)
    decisions = read_decisions(Path(path), run.taxonomy)
    stems = set(zip(run.found["song"], run.found["stem"], strict=True))
    if unknown := [one for one in decisions if (one.song, one.stem) not in stems]:
        raise DatasetError(
            f"{path}: the run {run.path} has no stem {unknown[0].stem!r} in a song {unknown[0].song!r}; "
            "import the decisions of the same dataset."
        )
    added = Ledger(run.path).add_new(decisions)
    write_decided(run)
    return added


def _read_found(path: Path, taxonomy: Taxonomy) -> pl.DataFrame:
    """The labels of the run in `path` as the classifiers left them."""
    if not (path / FOUND_FILE).exists():
        labels = _read_labels(path / LABELS_FILE, taxonomy)
        # Unless the first decision has been recorded meanwhile.
        if not (path / FOUND_FILE).exists():
            return labels
    return _read_labels(path / FOUND_FILE, taxonomy)


def _read_labels(path: Path, taxonomy: Taxonomy) -> pl.DataFrame:
    schema = labels_schema(taxonomy)
    try:
        labels = pl.read_csv(path, schema_overrides=schema)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0] if str(error) else "unreadable"
        raise RunError(f"{path}: cannot be read ({reason}); run `restem refine` again.") from error
    if missing := [name for name in schema if name not in labels.columns]:
        raise RunError(f"{path}: the column {missing[0]!r} is missing; run `restem refine` again.")
    labels = labels.with_columns(pl.col("given", "refined").fill_null(""))
    try:
        for stem in labels["stem"]:
            check_relative(stem, str(path))
        for text in {*labels["given"], *labels["refined"]}:
            taxonomy.parse(text)
    except RestemError as error:
        raise RunError(f"{path}: {error}") from error
    if unknown := set(labels["verdict"]).difference(VERDICTS):
        raise RunError(f"{path}: {unknown.pop()!r} is not a verdict; use one of {', '.join(VERDICTS)}.")
    return labels.select(list(schema))


def write_run(
    path: Path, taxonomy: Taxonomy, labels: pl.DataFrame, segments: pl.DataFrame, description: Mapping[str, Any]
) -> Run:
    """Writes the tables and then the description of a run to `path`; the description, last, marks it finished.

    description: must hold `dataset` with `root`, `classes` and `aliases`.
    """
    labels = _conform(labels, labels_schema(taxonomy))
    segments = _conform(segments, segments_schema(taxonomy))
    (path / FOUND_FILE).unlink(missing_ok=True)  # of an earlier run
    with written_aside(path / LABELS_FILE) as aside:
        labels.write_csv(aside, float_precision=6)
    with written_aside(path / SEGMENTS_FILE) as aside:
        segments.write_parquet(aside)
    write_json(path / DESCRIPTION_FILE, description)
    return open_run(path)


def _conform(table: pl.DataFrame, schema: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    return table.select(pl.col(name).cast(kind) for name, kind in schema.items())

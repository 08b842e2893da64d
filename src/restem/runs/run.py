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

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from restem.addresses import Address, as_path
from restem.dataset.layouts import opened_dataset
from restem.dataset.table import STATED, Dataset, Stem, check_outside, content_hash, split_stem_name
from restem.dataset.usage import missing_sound
from restem.errors import DatasetError, RunError, TaxonomyError
from restem.fetching import copy_of, fetched_folder, named
from restem.files import write_json, written_aside
from restem.notebook import html_table
from restem.runs.decided import Decided, decided_labels, decided_segments, settle
from restem.runs.ledger import Decision, Ledger, read_decisions, write_decisions, wrong_range
from restem.runs.segments_file import SegmentsFile, write_segments
from restem.runs.tables import labels_schema, read_description, read_labels, read_segments
from restem.taxonomy import UNKNOWN, Taxonomy
from restem.verdicts import MEANINGS, count_verdicts
from restem.wording import counted

LABELS_FILE = "labels.csv"
FOUND_FILE = "found.csv"
SEGMENTS_FILE = "segments.parquet"
DESCRIPTION_FILE = "run.json"
CLASSIFIER_FOLDER = "classifier"
REPORT_FILE = "report.html"


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A finished run, read back.

    `labels` and `segments` hold what people decided; what the classifiers found, without that, is in `found` and
    `found_segments`.

    Attributes
    ----------
    path
        The folder of the run; of one at an address, its copy on this machine.
    taxonomy
        The classes of its dataset.
    description
        What `run.json` holds: settings, seed, versions, dataset, wall times.
    labels
        The table `labels.csv`, one row per stem.
    decisions
        What people decided: what stood when the run was opened, in the order in which it was decided. Of a run at an
        address they are in its copy, on this machine alone.
    address
        Where the run was read from, if that was an address.

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
    address: Path | None = None

    def __repr__(self) -> str:
        counts = count_verdicts(self.labels["verdict"])
        verdicts = ", ".join(f"{count:,} {verdict}" for verdict, count in counts.items() if count)
        stems = counted(len(self.labels), "stem")
        return f"Run({self.place.name!r}, {stems}{': ' if verdicts else ''}{verdicts})"

    def _repr_html_(self) -> str:
        rows = [
            (verdict, count, MEANINGS[verdict].short)
            for verdict, count in count_verdicts(self.labels["verdict"]).items()
        ]
        return html_table(f"Run({self.place.name!r})", ("verdict", "stems", "meaning"), rows)

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
        return read_segments(self.path / SEGMENTS_FILE, self.taxonomy)

    @cached_property
    def segments_file(self) -> SegmentsFile:
        """The scores over time as the classifiers left them, to be read stem by stem."""
        return SegmentsFile(self.path / SEGMENTS_FILE, self.taxonomy)

    def segments_of(self, stems: Collection[str]) -> dict[str, pl.DataFrame]:
        """The scores over time of some stems, as `segments` has them; a stem without any is left out."""
        return {
            stem: decided_segments(part, self.decided, self.taxonomy)
            for stem, part in self.segments_file.of_stems(stems).items()
        }

    def segments_in_parts(self) -> Iterator[pl.DataFrame]:
        """`segments`, so many rows at once."""
        return (decided_segments(part, self.decided, self.taxonomy) for part in self.segments_file.parts())

    @property
    def place(self) -> Path:
        """Where people look for the run: its address, or else its folder."""
        return self.address or self.path

    @property
    def dataset_root(self) -> Path:
        """The root of the refined dataset."""
        return as_path(self.description["dataset"]["root"])

    @property
    def splits(self) -> Mapping[str, str]:
        """Song -> its split, for the songs that have one."""
        songs = zip(self.labels["song"], self.labels["stem"], strict=True)
        return {song: facts["split"] for song, stem in songs if "split" in (facts := self.stated.get(stem, {}))}

    @property
    def stated(self) -> Mapping[str, Mapping[str, str]]:
        """Stem name -> what the dataset states about it, see `Dataset.stated`."""
        return self.description["dataset"].get("stated", {})

    @property
    def out_of_fold(self) -> bool:
        """Whether every stem was scored by classifiers that were not trained on its song."""
        return bool(self.description.get("out_of_fold", True))

    def check_unchanged(self) -> None:
        """Raises RunError when the content of the dataset has changed since it was refined, or some of it is missing.

        Files that were written again with the same content count as unchanged. Of a run of a version that kept no hash
        of content, nothing is known.
        """
        expected = self.description["dataset"].get("content")
        if expected is not None and expected != content_hash(self.dataset_root, self.found["stem"]):
            raise RunError(
                f"{self.dataset_root}: the dataset has changed since {self.path} was made of it, so its labels may be "
                "those of other sounds; run `restem refine` again with another `out`."
            )

    def check_mixtures(self, only: bool) -> None:
        """Raises DatasetError when files of no class are left out of the mixtures, unless `only` asks for that."""
        count = int(self.description["dataset"].get("unclassed", 0))
        if count and not only:
            raise DatasetError(missing_sound(str(self.dataset_root), count))

    @property
    def dataset(self) -> Dataset:
        """The dataset as it was refined: the stems in `labels`, with their given labels."""
        stems = []
        for song, name, given in self.found.select("song", "stem", "given").rows():
            path, stream = split_stem_name(name)
            facts: dict[str, Any] = {key: self.stated.get(name, {}).get(key, "") for key in STATED}
            labels = self.taxonomy.parse(given)
            stems.append(Stem(song, path, labels, stream, unknown=given == UNKNOWN, **facts))
        layout = str(self.description["dataset"].get("layout", ""))
        return Dataset(self.dataset_root, layout, self.taxonomy, tuple(stems))

    def with_dataset(self, root: Path | str) -> Run:
        """The run with its dataset at another place; raises DatasetError when what is there is not the same."""
        described = self.description["dataset"]
        root = as_path(root).expanduser().absolute()
        there = replace(self.dataset, root=root)
        if there.fingerprint() != described.get("fingerprint"):
            raise DatasetError(
                f"{root}: is not the dataset that {self.path} was made of; give the place it was moved to."
            )
        return replace(self, description={**self.description, "dataset": {**described, "root": str(root)}})

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
        scored = self.found.filter(pl.col("verdict") != "failed")
        labels = [
            np.flatnonzero(self.taxonomy.to_flags(self.taxonomy.parse(text))).tolist() for text in scored["given"]
        ]
        return labels, scored.select(self.taxonomy.classes).to_numpy().astype(float)

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
    path = as_path(path)
    if isinstance(path, Address):
        needed = f"holds no finished run ({DESCRIPTION_FILE} is missing); run `restem refine` to make it"
        with named(path, copy_of(path)):
            return replace(open_run(fetched_folder(path, DESCRIPTION_FILE, needed)), address=path)
    description_path = path / DESCRIPTION_FILE
    if not path.is_dir():
        raise RunError(f"{path}: no such run folder; make one with `restem refine DATASET --out {path}`.")
    try:
        description = read_description(description_path)
    except FileNotFoundError as error:
        raise RunError(
            f"{path}: holds no finished run ({DESCRIPTION_FILE} is missing); run `restem refine` again to go on."
        ) from error
    taxonomy = Taxonomy(tuple(description["dataset"]["classes"]), description["dataset"]["aliases"])
    # Not labels.csv: it may have been edited or not completely written; the database is authoritative.
    found = _read_found(path, taxonomy)
    ledger = Ledger(path)
    decisions = ledger.standing()
    try:
        labels = decided_labels(found, settle(decisions, taxonomy), taxonomy)
    except TaxonomyError as error:
        raise RunError(f"{ledger.path}: {error}") from error
    return Run(path, taxonomy, description, labels, decisions)


def opened_run(run: Run | Path | str) -> Run:
    """`run` itself, or the one in the folder of this path; raises as `open_run` does."""
    return run if isinstance(run, Run) else open_run(run)


def opened_data(data: Dataset | Run | Path | str) -> Dataset | Run:
    """`data` itself, or the run or dataset at this path; raises as `open_run` and `open_dataset` do.

    Of a dataset at a path, the splits `test` and `omitted` are left out.
    """
    if isinstance(data, Path | str):
        return open_run(data) if (as_path(data) / DESCRIPTION_FILE).exists() else opened_dataset(data, "learn")
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
    write_decisions(as_path(out), decisions)
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
    return add_decisions(run, read_decisions(as_path(path), run.taxonomy), path)


def add_decisions(run: Run, decisions: Sequence[Decision], path: Path | str) -> int:
    """Adds those of `decisions` that are new, and rewrites `labels.csv`; returns how many were new.

    path: where they were read. Raises DatasetError when one is about a stem that the run lacks.
    """
    stems = {(song, stem): seconds for song, stem, seconds in run.found.select("song", "stem", "seconds").iter_rows()}
    if unknown := [one for one in decisions if (one.song, one.stem) not in stems]:
        raise DatasetError(
            f"{path}: the run {run.place} has no stem {unknown[0].stem!r} in a song {unknown[0].song!r}; "
            "import the decisions of the same dataset."
        )
    for one in decisions:
        seconds = stems[one.song, one.stem]
        if one.start_s is not None and (reason := wrong_range(one.start_s, one.end_s or 0.0, seconds or 0.0)):
            raise DatasetError(f"{path}: {one.start_s:g} to {one.end_s:g} s of {one.stem} {reason}; correct the range.")
    added = Ledger(run.path).add_new(decisions)
    write_decided(run)
    return added


def _read_found(path: Path, taxonomy: Taxonomy) -> pl.DataFrame:
    """The labels of the run in `path` as the classifiers left them."""
    if not (path / FOUND_FILE).exists():
        labels = read_labels(path / LABELS_FILE, taxonomy)
        # Unless the first decision has been recorded meanwhile.
        if not (path / FOUND_FILE).exists():
            return labels
    return read_labels(path / FOUND_FILE, taxonomy)


def write_run(
    path: Path,
    taxonomy: Taxonomy,
    labels: pl.DataFrame,
    segments: pl.DataFrame | Iterable[pl.DataFrame],
    description: Mapping[str, Any],
) -> Run:
    """Writes the tables and then the description of a run to `path`; the description, last, marks it finished.

    segments: the table, or parts of it in their order. description: must hold `dataset` with `root`, `classes` and
    `aliases`.
    """
    labels = labels.select(pl.col(name).cast(kind) for name, kind in labels_schema(taxonomy).items())
    (path / FOUND_FILE).unlink(missing_ok=True)  # of an earlier run
    with written_aside(path / LABELS_FILE) as aside:
        labels.write_csv(aside, float_precision=6)
    with written_aside(path / SEGMENTS_FILE) as aside:
        write_segments(aside, taxonomy, [segments] if isinstance(segments, pl.DataFrame) else segments)
    write_json(path / DESCRIPTION_FILE, description)
    return open_run(path)

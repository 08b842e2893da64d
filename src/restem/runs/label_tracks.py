"""What a run found over time, for other programs: label tracks, JAMS, CSV; and label tracks back.

    audacity    <stem>.txt: lines of start and end in seconds and a class, separated by tabs, which Audacity and Reaper
                show beside the sound (https://manual.audacityteam.org/man/importing_and_exporting_labels.html)
    jams        <stem>.jams: an annotation `segment_open` with the same (Humphrey et al., "JAMS: A JSON Annotated Music
                Specification for Reproducible MIR Research", ISMIR 2014; https://jams.readthedocs.io)
    csv         segments.csv: song,stem,class,start_s,end_s,score, of all stems

A label is there as long as the class is more probable than not; labels may overlap. Its score, in JAMS its confidence,
is the mean probability of the segments in it.

Labels that a person added to label tracks or moved are read back as decisions about their time range. Labels that
restem wrote say nothing new, and removed ones say nothing at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import polars as pl

from restem._version import __version__
from restem.addresses import as_path
from restem.errors import DatasetError, TaxonomyError, UsageError
from restem.file_names import Names, safe_path
from restem.files import write_json, written_aside
from restem.runs.ledger import Decision
from restem.runs.run import Run, add_decisions, opened_run

_PRESENT = 0.5
_DIGITS = 3  # of seconds, as in the ledger

LabelFormat = Literal["audacity", "jams", "csv"]

CSV_FILE = "segments.csv"
_TRACK = ".txt"
_JAMS_VERSION = "0.3.4"  # of the schema that is written
_CSV_SCHEMA = {
    "song": pl.String, "stem": pl.String, "class": pl.String, "start_s": pl.Float64, "end_s": pl.Float64,
    "score": pl.Float64,
}  # fmt: skip


class Label(NamedTuple):
    """A stretch of a stem in which a class is heard. score: the mean probability of the segments in it."""

    start_s: float
    end_s: float
    text: str
    score: float


def export_label_tracks(run: Run | Path | str, folder: Path | str, format: LabelFormat = "audacity") -> int:
    """Writes which class is heard when, for every stem with scores over time; returns the number of files.

    Parameters
    ----------
    run
        A run, or its folder.
    folder
        The folder for the files; those of the same names are replaced.
    format
        `audacity`: a label track for each stem, as Audacity and Reaper read them. `jams`: a JAMS file for each stem.
        `csv`: one table, `segments.csv`.

    Returns
    -------
    int
        How many files were written.

    Raises
    ------
    RunError
        When the run cannot be read.
    DatasetError
        When `folder` lies in the dataset.
    UsageError
        For another format.
    """
    run, folder = opened_run(run), as_path(folder)
    if format not in get_args(LabelFormat):
        raise UsageError(
            f"There are no labels in the format {format!r}; use one of {', '.join(get_args(LabelFormat))}."
        )
    run.check_outside(folder)
    if format == "csv":
        rows = [
            (song, stem, one.text, one.start_s, one.end_s, one.score)
            for song, stem, labels in _tracks(run, run.segments, "").values()
            for one in labels
        ]
        table = pl.DataFrame(rows, schema=_CSV_SCHEMA, orient="row")
        with written_aside(folder / CSV_FILE) as aside:
            table.write_csv(aside, float_precision=_DIGITS)
        return 1
    tracks = _tracks(run, run.segments, ".jams" if format == "jams" else _TRACK)
    seconds = dict(run.labels.select("stem", "seconds").iter_rows())
    for name, (song, stem, labels) in tracks.items():
        if format == "jams":
            write_json(folder / name, _jams(run, song, stem, seconds[stem], labels))
            continue
        with written_aside(folder / name) as aside:
            aside.write_text("".join(f"{one.start_s:.6f}\t{one.end_s:.6f}\t{one.text}\n" for one in labels), "utf-8")
    return len(tracks)


def _jams(run: Run, song: str, stem: str, seconds: float, labels: list[Label]) -> dict[str, Any]:
    """The content of a JAMS file about one stem."""
    data = [
        {"time": one.start_s, "duration": round(one.end_s - one.start_s, _DIGITS), "value": one.text,
         "confidence": one.score}
        for one in labels
    ]  # fmt: skip
    metadata = {
        "annotation_tools": f"restem {__version__}",
        "annotator": {"run": run.path.name},
        "data_source": "restem refine, and what people decided",
    }
    return {
        "file_metadata": {
            "title": stem, "release": song, "duration": seconds, "jams_version": _JAMS_VERSION, "identifiers": {},
        },
        "annotations": [
            {
                "namespace": "segment_open", "time": 0.0, "duration": seconds, "data": data,
                "annotation_metadata": metadata, "sandbox": {},
            }
        ],
        "sandbox": {},
    }  # fmt: skip


def import_label_tracks(run: Run | Path | str, folder: Path | str, *, person: str = "") -> int:
    """Records the labels in a folder of label tracks that restem has not found, and that nobody decided before.

    Parameters
    ----------
    run
        A run, or its folder.
    folder
        The folder of the text files; stems without one are left as they are.
    person
        Who decided.

    Returns
    -------
    int
        How many decisions were new.

    Raises
    ------
    RunError
        When the run cannot be read.
    DatasetError
        When there is no label track of the run's stems, or, with its line, for a label that is not a class or a time
        range that is not one.
    """
    run, folder = opened_run(run), as_path(folder)
    refined = dict(zip(run.labels["stem"], run.labels["refined"], strict=True))
    decided = {(one.stem, one.start_s, one.end_s, one.new) for one in run.decisions}
    # The file may be from before or after other decisions.
    before, decisions, found = _tracks(run, run.found_segments, _TRACK), [], 0
    for name, (song, stem, labels) in _tracks(run, run.segments, _TRACK).items():
        if (folder / name).is_file():
            found += 1
            known = {one[:3] for one in (*labels, *before[name][2])}
            for start, end, text in _read(folder / name, run):
                if (start, end, text) not in known and (stem, start, end, text) not in decided:
                    decisions.append(Decision(song, stem, refined[stem], text, person, "", start, end))
    if not found:
        raise DatasetError(f"{folder}: holds no label track of a stem of {run.place}, as `restem review` exports them.")
    return add_decisions(run, decisions, folder)


def _tracks(run: Run, segments: pl.DataFrame, extension: str) -> Mapping[str, tuple[str, str, list[Label]]]:
    """File name, with this extension -> song, stem and labels."""
    names = Names()
    tracks: dict[str, tuple[str, str, list[Label]]] = {}
    for (stem,), part in segments.partition_by("stem", as_dict=True, maintain_order=True).items():
        part = part.sort("start_s")
        labels = sorted(label for name in run.taxonomy.classes for label in _labels_of(part, name))
        tracks[names.take(safe_path(str(stem)), extension)] = (part["song"][0], str(stem), labels)
    return tracks


def _labels_of(part: pl.DataFrame, name: str) -> Iterator[Label]:
    """The stretches of a stem in which a class is present; segments that touch are one."""
    scores = part[name].to_numpy()
    times, scores = part.select("start_s", "end_s").to_numpy()[scores >= _PRESENT], scores[scores >= _PRESENT]
    if len(times):
        # A stretch ends before each segment that starts after the end of all before it.
        ends = np.maximum.accumulate(times[:, 1])
        cuts = np.flatnonzero(times[1:, 0] > ends[:-1]) + 1
        for stretch in np.split(np.arange(len(times)), cuts):
            start_s, end_s = float(times[stretch[0], 0]), float(ends[stretch[-1]])
            score = round(float(scores[stretch].mean()), _DIGITS)
            yield Label(round(start_s, _DIGITS), round(end_s, _DIGITS), name, score)


def _read(path: Path, run: Run) -> Iterator[tuple[float, float, str]]:
    """The labels of a text file; raises DatasetError, with the line, for what is not one."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); save it as UTF-8.") from error
    for number, line in enumerate(lines, start=1):
        # Audacity writes the frequencies of a selection in lines of their own.
        if not line.strip() or line.startswith("\\"):
            continue
        start, end, text = (*line.split("\t", 2), "", "")[:3]
        try:
            start_s, end_s = round(float(start), _DIGITS), round(float(end), _DIGITS)
            labels = run.taxonomy.format(run.taxonomy.parse(text))
        except (ValueError, TaxonomyError) as error:
            raise DatasetError(f"{path}, line {number}: {line!r} is not a label ({error}).") from error
        if not 0 <= start_s < end_s < np.inf:
            raise DatasetError(f"{path}, line {number}: {start} to {end} is not a time range.")
        yield start_s, end_s, labels

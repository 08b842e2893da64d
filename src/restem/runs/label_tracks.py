"""What a run found over time as label tracks, which Audacity and Reaper show beside the sound, and back.

One text file per stem, `<stem>.txt`: lines of start and end in seconds and a class, separated by tabs
(https://manual.audacityteam.org/man/importing_and_exporting_labels.html). A label is there as long as the class is more
probable than not; labels may overlap.

Labels that a person added or moved are read back as decisions about their time range. Labels that restem wrote say
nothing new, and removed ones say nothing at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from restem.addresses import as_path
from restem.errors import DatasetError, TaxonomyError
from restem.file_names import Names, safe_path
from restem.files import written_aside
from restem.runs.ledger import Decision
from restem.runs.run import Run, add_decisions, opened_run

_PRESENT = 0.5
_DIGITS = 3  # of seconds, as in the ledger

Label = tuple[float, float, str]


def export_label_tracks(run: Run | Path | str, folder: Path | str) -> int:
    """Writes a label track for every stem with scores over time; returns their number.

    Parameters
    ----------
    run
        A run, or its folder.
    folder
        The folder for the text files; those of the same names are replaced.

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
    """
    run, folder = opened_run(run), as_path(folder)
    run.check_outside(folder)
    tracks = _tracks(run, run.segments)
    for name, (_, _, labels) in tracks.items():
        with written_aside(folder / name) as aside:
            aside.write_text(
                "".join(f"{start:.6f}\t{end:.6f}\t{text}\n" for start, end, text in labels), encoding="utf-8"
            )
    return len(tracks)


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
    before, decisions, found = _tracks(run, run.found_segments), [], 0
    for name, (song, stem, labels) in _tracks(run, run.segments).items():
        if (folder / name).is_file():
            found += 1
            known = {*labels, *before[name][2]}
            for start, end, text in _read(folder / name, run):
                if (start, end, text) not in known and (stem, start, end, text) not in decided:
                    decisions.append(Decision(song, stem, refined[stem], text, person, "", start, end))
    if not found:
        raise DatasetError(f"{folder}: holds no label track of a stem of {run.place}, as `restem review` exports them.")
    return add_decisions(run, decisions, folder)


def _tracks(run: Run, segments: pl.DataFrame) -> Mapping[str, tuple[str, str, list[Label]]]:
    """File name -> song, stem and labels."""
    names = Names()
    tracks: dict[str, tuple[str, str, list[Label]]] = {}
    for (stem,), part in segments.partition_by("stem", as_dict=True, maintain_order=True).items():
        part = part.sort("start_s")
        labels = sorted(label for name in run.taxonomy.classes for label in _labels_of(part, name))
        tracks[names.take(safe_path(str(stem)), ".txt")] = (part["song"][0], str(stem), labels)
    return tracks


def _labels_of(part: pl.DataFrame, name: str) -> Iterator[Label]:
    """The stretches of a stem in which a class is present; segments that touch are one."""
    times = part.select("start_s", "end_s").to_numpy()[part[name].to_numpy() >= _PRESENT]
    if len(times):
        # A stretch ends before each segment that starts after the end of all before it.
        ends = np.maximum.accumulate(times[:, 1])
        cuts = np.flatnonzero(times[1:, 0] > ends[:-1]) + 1
        for stretch in np.split(np.arange(len(times)), cuts):
            yield round(float(times[stretch[0], 0]), _DIGITS), round(float(ends[stretch[-1]]), _DIGITS), name


def _read(path: Path, run: Run) -> Iterator[Label]:
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

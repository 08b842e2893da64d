"""Exports a run as a dataset: the same audio under the refined labels.

    table     OUT/stems.csv  path,labels,song,given,verdict,quality,<class>...; restem reads it, with all label sets
              OUT/<song>/<file>
    songs     OUT/<song>/<class>.<ext>                  Demucs, Open-Unmix, MSST type 1
    classes   OUT/<class>/<song>__<name>.<ext>          MSST type 2

Where songs have a split, `songs` and `classes` lie below a folder for it.

In every layout OUT/restem.json records the origin. Audio is linked or copied, never altered unless that is asked for;
only a stem that is one stream of a `.stem.mp4` has to be decoded, to WAV.

`songs` and `classes` allow one class per file, so stems with several labels, without a label, or `unsure` are left out.
Stems with several labels can be split by a separator instead: each becomes one file per class, and the files sum to the
stem. Such files are marked as estimates in the manifest, and in the column `estimate` of the table.
A second stem of a class in one song becomes `vocals_2.wav`, since summing the two would alter audio. restem, and MSST
type 2 from `classes`, read it; programs that look for exactly `vocals.wav` do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

import polars as pl

from restem._version import __version__
from restem.addresses import Address, as_path, list_objects
from restem.content import file_sha256
from restem.dataset.stems_csv import TABLE_FILE
from restem.dataset.table import STATED, channel_name, split_stem_name
from restem.errors import AudioError, DatasetError, UsageError
from restem.executing.interface import Executor
from restem.executing.processes import IN_THIS_PROCESS
from restem.fetching import put_below
from restem.file_names import Names, safe_name, song_folders
from restem.files import folder_written_aside, write_json, written_aside
from restem.progress import Progress, stage
from restem.runs.card import count_licences, licence_warning
from restem.runs.links import LINKS, Link, decode_stream, link_file
from restem.runs.processed import ProcessedStems
from restem.runs.run import CLASSIFIER_FOLDER, Run, open_run
from restem.taxonomy import UNKNOWN, LabelSet
from restem.wording import counted

ExportLayout = Literal["table", "songs", "classes"]
EXPORT_LAYOUTS: tuple[ExportLayout, ...] = get_args(ExportLayout)

MANIFEST_FILE = "restem.json"

_CHUNK = 64  # links that are made in one task

Split = Callable[[Path, int, Mapping[str, Path]], None]
"""(file, audio stream, class -> target file): writes an estimate of each class of a stem; they sum to the stem."""


@dataclass(frozen=True)
class ExportSummary:
    """What became of an export.

    Attributes
    ----------
    path
        The folder of the new dataset.
    layout
        How its stems lie in it.
    written
        How many stems are in it.
    left_out
        For each reason, how many stems are not.
    failed
        Stems that could not be exported, because their file has gone or cannot be read, each with the reason.
    warning
        What to say where stems for non-commercial use are mixed with others; else empty.
    processed
        How many of the stems are not as they were recorded, since bleed was taken out of them.
    """

    path: Path
    layout: str
    written: int
    left_out: Mapping[str, int]
    failed: Mapping[str, str] = field(default_factory=dict)
    warning: str = ""
    processed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The same as plain numbers and strings, ready for JSON."""
        return {
            "path": str(self.path),
            "layout": self.layout,
            "written": self.written,
            "left_out": dict(self.left_out),
            "failed": dict(self.failed),
            "processed": self.processed,
        }

    def __str__(self) -> str:
        """A few lines for the terminal."""
        stems = "stem is" if self.written == 1 else "stems are"
        lines = f"{self.written} {stems} in {self.path} (layout {self.layout})."
        if self.left_out:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
            lines += f"\nLeft out: {sum(self.left_out.values())} ({reasons})."
        if self.processed:
            lines += f"\nBleed was taken out of {counted(self.processed, 'stem')}; {MANIFEST_FILE} names them."
        return f"{lines}\n{self.warning}" if self.warning else lines


@dataclass(frozen=True)
class _Item:
    """A file to be exported: the row of its stem, its labels, and where it goes, relative to OUT.

    estimate: whether it is a separator's estimate of one class of the stem, not the stem itself. processed: what was
    done to its sound, if anything.
    """

    row: Mapping[str, Any]
    labels: LabelSet
    source: Path
    stream: int | None
    target: str
    estimate: bool = False
    processed: Mapping[str, Any] | None = None


def export(
    run: Run | Path | str,
    out: Path | str,
    *,
    layout: ExportLayout = "table",
    link: Link = "symlink",
    licence: str = "",
    split: Split | None = None,
    processed: ProcessedStems | None = None,
    executor: Executor = IN_THIS_PROCESS,
    cpus: int = 1,
    gpus: int = 0,
    progress: Progress | None = None,
) -> ExportSummary:
    """Writes the dataset that `run` refined, with its refined labels, to the new folder `out`.

    Failed and silent stems are left out; in the layout `table`, unsure ones are there with their given labels and
    `unsure` in the column `verdict`. link: `symlink`, `hard` or `copy`; what is written to a hard link changes the
    original, too. licence: of the audio, for the manifest; by default the run's. split: what takes stems with several
    labels apart, see `Split`. processed: what is copied in the place of stems. executor: where files are linked, copied
    and decoded; those that are split each with so many `cpus` and `gpus`. progress: called with the stage, the files
    done and in all.

    `out` appears when it is complete. Nothing is written to the source.
    A stem whose file has gone or cannot be read is reported in `ExportSummary.failed`, and the others are exported.
    Raises UsageError for an unknown layout or link; DatasetError when the source dataset is missing, `out` holds
    something or lies in the source, nothing is left to export, or a link cannot be made.
    """
    run = run if isinstance(run, Run) else open_run(run)
    licence = licence or str(run.description.get("licence", ""))
    if layout not in EXPORT_LAYOUTS:
        raise UsageError(f"Nothing can be exported as {layout!r}; use one of {', '.join(EXPORT_LAYOUTS)}.")
    if link not in LINKS:
        raise UsageError(f"Stems cannot be placed by {link!r}; use one of {', '.join(LINKS)}.")
    out = as_path(out).expanduser().absolute()
    root = run.dataset_root.absolute()
    if not root.is_dir():
        raise DatasetError(f"{root}: the dataset that {run.place} refined is not there; bring it back to this place.")
    run.check_outside(out)
    run.check_unchanged()

    items, left_out = _choose(run, root, layout, split is not None, processed or {})
    summary = ExportSummary(out, layout, len(items), dict(left_out.most_common()))
    if isinstance(out, Address) or isinstance(root, Address):
        _check_copied(link, items)
    if not items:
        reasons = ", ".join(f"{count} {reason}" for reason, count in summary.left_out.items())
        raise DatasetError(f"{run.place}: no stem is left to export as {layout} ({reasons}).")
    check_free(out)
    done, report, failed = 0, stage(progress, "exporting"), dict[str, str]()
    with new_folder(out) as folder:
        stems = [list(files) for _, files in groupby(items, key=lambda item: (item.source, item.stream))]
        for splitting, changed in ((False, False), (False, True), (True, False)):
            kind = splitting, changed
            some = [parts for parts in stems if (parts[0].estimate, parts[0].processed is not None) == kind]
            jobs = [[(part.source, part.stream, part.target, part.labels) for part in parts] for parts in some]
            linked = partial(_place_in, folder, "copy" if changed else link)
            place = partial(_split_to, folder, split) if splitting else linked
            how = {"cpus": cpus, "gpus": gpus} if splitting else {"chunk": _CHUNK}
            for index, reason in executor.map_unordered(place, jobs, lost=_lost, **how):
                if reason is not None:
                    failed[some[index][0].row["stem"]] = reason
                done += len(some[index])
                report(done, len(items))
        written = [item for item in items if item.row["stem"] not in failed]
        if not written:
            raise DatasetError(f"{run.place}: no stem can be exported; the first: {failed[items[0].row['stem']]}")
        licences = count_licences(run, {item.row["stem"] for item in written}, licence)
        summary = replace(
            summary, written=len(written), failed=failed, warning=licence_warning(licences),
            processed=sum(item.processed is not None for item in written),
        )  # fmt: skip
        if layout == "table":
            with written_aside(folder / TABLE_FILE) as aside:
                _stems_table(run, written).write_csv(aside, float_precision=6)
        write_json(
            folder / MANIFEST_FILE,
            _manifest(run, written, summary, link, licence),
        )
    return summary


def _check_copied(link: Link, items: Sequence[_Item]) -> None:
    """Raises UsageError when files were to be linked to, or in, object storage."""
    if link != "copy" and any(item.stream is None and not item.estimate for item in items):
        raise UsageError("There are no links to or in object storage; use `link='copy'`.")


_Job = list[tuple[Path, int | None, str, LabelSet]]
"""The files of one stem: what each is made of (file, stream), its path relative to OUT, and its labels."""


def _place_in(out: Path, link: Link, job: _Job) -> str | None:
    """Links, copies or decodes a stem; returns why that failed, or None."""
    ((source, stream, target, _),) = job
    try:
        _check_readable(source)
        with put_below(out) as folder:
            if stream is None:
                link_file(source, folder / target, link)
            else:
                decode_stream(source, stream, folder / target)
    except AudioError as error:
        return str(error)
    return None


def _split_to(out: Path, split: Split | None, job: _Job) -> str | None:
    """Splits a stem into one file per class; returns why that failed, or None."""
    source, stream = job[0][:2]
    assert split is not None
    try:
        _check_readable(source)
        with put_below(out) as folder:
            split(source, stream or 0, {"".join(labels): folder / target for _, _, target, labels in job})
    except AudioError as error:
        return str(error)
    return None


def _lost(job: _Job, reason: str) -> str:
    return f"{job[0][0]}: cannot be exported: {reason}."


def _check_readable(source: Path) -> None:
    """Raises AudioError when a stem's file has gone or cannot be read."""
    try:
        if not source.is_file():
            raise AudioError(f"{source}: is gone since the run; bring it back, or run `restem refine` again.")
        if not isinstance(source, Address):
            source.open("rb").close()
    except OSError as error:
        raise AudioError(f"{source}: cannot be read ({error.strerror}); change its permissions.") from error


def _choose(
    run: Run, root: Path, layout: ExportLayout, splitting: bool, processed: ProcessedStems
) -> tuple[list[_Item], Counter[str]]:
    """The files to be exported, grouped by stem, and the number of stems left out for each reason."""
    left_out: Counter[str] = Counter()
    items: list[_Item] = []
    folders, splits_of_songs = song_folders(run.labels["song"], (TABLE_FILE, MANIFEST_FILE)), run.splits
    names = Names()
    for row in run.labels.iter_rows(named=True):
        labels = run.taxonomy.parse(row["given" if row["verdict"] == "unsure" else "refined"])
        splits = splitting and len(labels) > 1 and row["verdict"] not in ("unsure", "failed", "silent")
        if not splits and (reason := _why_not(row["verdict"], labels, layout)):
            left_out[reason] += 1
            continue
        path, stream = split_stem_name(row["stem"])
        base, extension = PurePosixPath(path).stem, PurePosixPath(path).suffix
        if stream is not None:
            part_name = str(stream) if stream >= 0 else channel_name(stream)
            base, extension = f"{base.removesuffix('.stem')}-{part_name}", ".wav"
        source, note = root / path, None
        if (new := processed.get(row["stem"])) is not None:
            source, note, stream, extension = new.file, new.note, None, new.file.suffix
        song, in_split = folders[row["song"]], splits_of_songs.get(row["song"], "")
        # A song that is called like one of another split has the split in its name.
        in_split = f"{safe_name(in_split)}/" if in_split else ""
        below_split = song.removeprefix(in_split)
        # An estimate is a new file, whatever the format of its stem.
        for part in [frozenset({name}) for name in run.taxonomy.classes if name in labels] if splits else [labels]:
            class_name = run.taxonomy.format(part)
            own = f"{base}.{class_name}.estimate" if splits else base
            name = {
                "table": f"{song}/{safe_name(own)}",
                "songs": f"{in_split}{below_split}/{class_name}",
                "classes": f"{in_split}{class_name}/{safe_name(below_split + '__' + own)}",
            }[layout]
            target = _take(names, layout, name, ".wav" if splits else extension)
            items.append(_Item(row, part, source, stream, target, estimate=splits, processed=note))
    return items, left_out


def _take(names: Names, layout: ExportLayout, name: str, extension: str) -> str:
    """`name` + `extension`, numbered if taken; in `songs`, `vocals.wav` takes the name `vocals.flac` as well."""
    return names.take(name) + extension if layout == "songs" else names.take(name, extension)


def _why_not(verdict: str, labels: LabelSet, layout: ExportLayout) -> str:
    """Why a stem is left out of an export, or an empty string."""
    if verdict in ("failed", "silent"):
        return verdict
    if layout == "table":
        return ""
    if verdict == "unsure":
        return verdict
    return "" if len(labels) == 1 else "several labels" if labels else "no label"


def _labels_text(run: Run, item: _Item) -> str:
    """The labels of a file in `stems.csv`: unknown ones of which nothing was found stay so."""
    unknown = item.row["given"] == UNKNOWN and item.row["verdict"] == "unsure"
    return UNKNOWN if unknown else run.taxonomy.format(item.labels)


def _stems_table(run: Run, items: list[_Item]) -> pl.DataFrame:
    """The content of `stems.csv` in the layout `table`."""
    kept = ("song", "given", "verdict", "quality", *run.taxonomy.classes)
    facts = [run.stated.get(item.row["stem"], {}) for item in items]
    stated = [name for name in STATED if any(name in one for one in facts)]
    rows = [
        {"path": item.target, "labels": _labels_text(run, item), **{name: item.row[name] for name in kept}}
        | {name: one.get(name, "") for name in stated}
        | ({"estimate": "yes" if item.estimate else ""} if any(item.estimate for item in items) else {})
        | ({"processed": "yes" if item.processed else ""} if any(item.processed for item in items) else {})
        for item, one in zip(items, facts, strict=True)
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _manifest(run: Run, items: list[_Item], summary: ExportSummary, link: Link, licence: str) -> dict[str, Any]:
    model = run.path / CLASSIFIER_FOLDER / "model.safetensors"
    return {
        "restem": __version__,
        "licence": licence,
        "layout": summary.layout,
        "link": link,
        "source": str(run.dataset_root.absolute()),
        "fingerprint": run.description["dataset"].get("fingerprint"),
        "run": str(run.place.absolute()),
        "model_sha256": file_sha256(model) if model.is_file() else None,
        "classes": list(run.taxonomy.classes),
        "left_out": dict(summary.left_out),
        "failed": dict(summary.failed),
        "stems": [
            {
                "path": item.target,
                **({"estimate": run.taxonomy.format(item.labels)} if item.estimate else {}),
                **({"processed": dict(item.processed)} if item.processed else {}),
                **{name: item.row[name] for name in ("song", "stem", "given", "refined", "verdict", "quality")},
                "scores": {name: item.row[name] for name in run.taxonomy.classes},
                **run.stated.get(item.row["stem"], {}),
            }
            for item in items
        ],
    }


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yields a temporary folder to fill, which becomes `out` at the end; or `out` itself, if it is an address.

    Raises DatasetError when `out` cannot be written, or another process has made it meanwhile.
    """
    if isinstance(out, Address):
        yield out  # which has no folders, and nothing to rename
        return
    try:
        with folder_written_aside(out) as folder:
            yield folder
    except OSError as error:
        if _is_taken(out):
            raise DatasetError(f"{out}: was made by another process meanwhile; choose a new folder.") from error
        raise DatasetError(f"{out}: cannot be written ({error.strerror}); choose another place.") from error


def check_free(out: Path) -> None:
    """Raises DatasetError when `out` is a file or a folder that holds something."""
    if _is_taken(out):
        raise DatasetError(f"{out}: is there already; choose a new folder, or remove it first.")


def _is_taken(out: Path) -> bool:
    if isinstance(out, Address):
        return bool(list_objects(out))
    return out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir())))

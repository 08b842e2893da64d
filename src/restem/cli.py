"""The command line: parses, calls, prints. What the commands do lives in the rest of the house."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from restem._version import __version__
from restem.errors import RestemError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from restem.dataset.run import Run
    from restem.dataset.table import Dataset
    from restem.labelling.refining import Progress

Device = Literal["auto", "cpu", "cuda", "mps"]
Layout = Literal["songs", "song-folders", "classes", "table"]
Classes = Annotated[str, Parameter(help="Comma-separated classes, or a YAML file that maps each class to its aliases.")]
Workers = Annotated[int | None, Parameter(help="Processes; by default the cores this process may use.")]
Cache = Annotated[Path | None, Parameter(help="Where features are kept; by default the user's cache folder.")]
LayoutOption = Annotated[Layout | None, Parameter(help="How the dataset lies on disk; by default this is detected.")]

DEFAULT_CLASSES = "vocals,drums,bass,other"

app = App(
    name="restem",
    help="Finds what is really in every stem of a multitrack music dataset, and corrects the labels.",
    version=__version__,
    help_epilogue="Every command takes --help. Add --debug to see where an error comes from.",
    suppress_keyboard_interrupt=False,  # it is answered below
)


@app.command
def demo(
    out: Annotated[Path, Parameter(help="The folder for everything the demo makes.")] = Path("restem-demo"),
    /,
    *,
    songs: Annotated[int, Parameter(help="How many to render.")] = 24,
    seed: Annotated[int, Parameter(help="Another seed is another band.")] = 0,
    separate: Annotated[
        bool, Parameter(negative="", help="Also train separators on given and on refined labels, and compare them.")
    ] = False,
    device: Device = "auto",
    workers: Workers = None,
    cache: Cache = None,
) -> None:
    """Show the whole method on a generated band, without any download.

    Renders a band, mixes up its stems, refines the labels, and compares them with the truth.

    Example: `restem demo`
    """
    from restem.demo import print_demo, run_demo

    console = _console()
    with _progress() as progress:
        result = run_demo(
            out, songs=songs, seed=seed, separate=separate, device=device, workers=workers, cache=cache,
            progress=progress,
        )  # fmt: skip
    print_demo(result, console)


@app.command
def scan(
    dataset: Path,
    /,
    *,
    layout: LayoutOption = None,
    classes: Classes = DEFAULT_CLASSES,
    csv: Annotated[Path | None, Parameter(help="Also write the table, one row a stem, to this file.")] = None,
    workers: Workers = None,
) -> None:
    """Say what stems there are: songs, classes, hours, rates, silent stems, and what was skipped and why.

    Example: `restem scan my-stems --csv stems.csv`
    """
    from restem.dataset.scan import print_scan, summarise
    from restem.dataset.scan import scan as scan_dataset
    from restem.files import written_aside

    opened = _open(dataset, layout, classes)
    with _progress() as progress:
        table = scan_dataset(opened, workers=workers, progress=lambda done, total: progress("decoding", done, total))
    if csv is not None:
        with written_aside(csv) as aside:
            table.write_csv(aside, float_precision=6)
    print_scan(summarise(table, opened), table, opened, _console())


@app.command
def corrupt(
    dataset: Path,
    out: Path,
    /,
    *,
    kind: Annotated[
        Literal["regroup", "swap", "bleed", "partial"],
        Parameter(
            help="regroup: sources move into other stems of their song. swap: stems get another class's label. "
            "bleed: every stem also holds the others. partial: sources are heard in other stems for a few seconds."
        ),
    ] = "regroup",
    rate: Annotated[float, Parameter(help="The probability that a source or stem is affected.")] = 0.2,
    level_db: Annotated[float, Parameter(help="For bleed: the level of what bleeds in.")] = -20.0,
    seed: int = 0,
    format: Annotated[Literal["flac", "wav"], Parameter(help="What to write; both are lossless.")] = "flac",
    layout: LayoutOption = None,
    classes: Classes = DEFAULT_CLASSES,
    workers: Workers = None,
) -> None:
    """Make a noisy copy of a clean dataset, with its truth in OUT/truth.csv.

    Example: `restem corrupt clean-stems noisy-stems --kind regroup --rate 0.2 --seed 1`
    """
    from restem.dataset.corrupt import corrupt as corrupt_dataset

    opened = _open(dataset, layout, classes)
    with _progress() as progress:
        corrupt_dataset(
            opened, out, kind=kind, rate=rate, level_db=level_db, seed=seed, extension=format,
            workers=workers,
            progress=lambda done, total: progress("writing", done, total),
        )  # fmt: skip
    _say(f"The noisy copy is in {out}, its truth in {out / 'truth.csv'}.")


@app.command
def refine(
    dataset: Path,
    /,
    *,
    out: Annotated[Path, Parameter(help="The folder of the run; started again, an interrupted run goes on.")],
    layout: LayoutOption = None,
    classes: Classes = DEFAULT_CLASSES,
    size: Annotated[Literal["tiny", "small", "base"], Parameter(help="Of the classifier; base wants a GPU.")] = "tiny",
    start: Annotated[
        Literal["prior", "scratch"] | None,
        Parameter(help="From the classifier that comes with restem, by default where size is tiny, or from nothing."),
    ] = None,
    rounds: Annotated[
        int | None, Parameter(help="Of training and relabelling; by default 1, or 2 without the prior.")
    ] = None,
    folds: Annotated[
        int | None, Parameter(help="Every stem is scored by a classifier that never heard its song; by default 3.")
    ] = None,
    steps: Annotated[int | None, Parameter(help="Of one training; by default by the amount of audio.")] = None,
    seed: int = 0,
    device: Device = "auto",
    workers: Workers = None,
    cache: Cache = None,
    licence: Annotated[str, Parameter(help="The licence of the audio, kept with the classifier.")] = "",
    decisions: Annotated[Path | None, Parameter(help="A run; what people decided about it is certain.")] = None,
) -> None:
    """Find what is in every stem, correct the labels, and leave a run: tables, classifier and report.

    Example: `restem refine my-stems --out run`
    """
    from restem.api import refine as refine_dataset
    from restem.evaluation.summary import print_summary

    opened = _open(dataset, layout, classes)
    with _progress() as progress:
        run = refine_dataset(
            opened, out, size=size, start=start, rounds=rounds, folds=folds, steps=steps, seed=seed, cache=cache,
            device=device, workers=workers, licence=licence, decisions=decisions, progress=progress,
        )  # fmt: skip
    print_summary(run, _console())
    _say(f"\nThe labels are in {run.path / 'labels.csv'}, the report in {run.path / 'report.html'}.")


@app.command
def score(
    run: Path,
    truth: Annotated[Path | None, Parameter(help="A CSV song,stem,given,true; true is a label set.")] = None,
    /,
    *,
    decisions: Annotated[
        Path | None, Parameter(help="Instead of a truth, a run: what people decided about it is the truth.")
    ] = None,
    as_json: Annotated[Path | None, Parameter(name="--json", help="Also write the numbers to this file.")] = None,
) -> None:
    """Compare the labels of a run with the truth, where it is known.

    Example: `restem score run noisy-stems/truth.csv`
    """
    from restem.api import score as score_run
    from restem.evaluation.labels import print_score
    from restem.files import write_json

    result = score_run(run, truth, decisions=decisions)
    if as_json is not None:
        write_json(as_json, result.as_dict())
    print_score(result, _console())


@app.command
def report(
    run: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="By default RUN/report.html.")] = None,
    audio: Annotated[bool, Parameter(negative="", help="Also put a few seconds of every pictured stem in it.")] = False,
) -> None:
    """Write the report of a run again: one self-contained HTML file.

    Example: `restem report run --audio`
    """
    from restem.api import report as write_report

    _say(f"The report is in {write_report(run, out, audio=audio)}.")


@app.command
def review(
    run: Path,
    /,
    *,
    export: Annotated[Path | None, Parameter(help="Write the decisions to this CSV, and do nothing else.")] = None,
    import_: Annotated[
        Path | None, Parameter(name="--import", help="Add the decisions in this CSV, and do nothing else.")
    ] = None,
    person: Annotated[str, Parameter(help="Who decides; by default the user.")] = "",
    port: Annotated[int, Parameter(help="0 is any that is free.")] = 0,
    browser: Annotated[bool, Parameter(help="Open the page in a browser.")] = True,
    follow_links: Annotated[
        bool, Parameter(negative="", help="Also play files outside of the dataset that links in it lead to.")
    ] = False,
    cache: Cache = None,
) -> None:
    """Listen to the doubtful stems of a run on a local page, and confirm or correct their labels.

    Example: `restem review run`
    """
    from restem.api import serve_review
    from restem.dataset.run import export_decisions, import_decisions

    if import_ is not None:
        _say(f"New decisions from {import_}: {import_decisions(run, import_)}.")
    if export is not None:
        _say(f"Decisions in {export}: {export_decisions(run, export)}.")
    if import_ is None and export is None:
        serve_review(run, cache=cache, port=port, person=person, follow_links=follow_links, browser=browser)


@app.command
def export(
    run: Path,
    out: Path,
    /,
    *,
    layout: Annotated[
        Literal["table", "classes", "songs"],
        Parameter(
            help="table: all stems with their label sets, for restem. classes, songs: what MSST, Demucs and Open-Unmix "
            "read, single-label stems only."
        ),
    ] = "table",
    link: Annotated[Literal["symlink", "hard", "copy"], Parameter(help="How files get there.")] = "symlink",
    licence: Annotated[str, Parameter(help="The licence of the audio, for the manifest.")] = "",
    split: Annotated[
        Path | None,
        Parameter(help="A separator: it takes stems with several labels apart, into estimates that add up."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Make a refined dataset out of a run. Nothing is moved or changed in the source.

    Example: `restem export run refined-stems`
    """
    from restem.api import export as export_run

    with _progress() as progress:
        summary = export_run(
            run, out, layout=layout, link=link, licence=licence, split=split, device=device,
            progress=lambda done, total: progress("exporting", done, total),
        )  # fmt: skip
    _say(str(summary))


@app.command
def train(
    data: Annotated[Path, Parameter(help="A dataset, with its given labels, or a run, with its refined ones.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The folder of the separator; started again, a training goes on.")],
    model: Annotated[str, Parameter(help="band, hdemucs, htdemucs, bs_roformer or mel_band_roformer.")] = "band",
    set: Annotated[list[str] | None, Parameter(help="key=value, a size of the model; may be repeated.")] = None,
    layout: LayoutOption = None,
    classes: Classes = DEFAULT_CLASSES,
    steps: Annotated[int, Parameter(help="Of the optimiser.")] = 10_000,
    max_time: Annotated[str | None, Parameter(help="Such as 90s, 30m or 1h30m; the schedule fits it.")] = None,
    batch: Annotated[int, Parameter(help="Examples at once.")] = 8,
    accumulate: Annotated[int, Parameter(help="Batches a step.")] = 1,
    segment: Annotated[float | None, Parameter(help="Seconds of an example; by default the model's.")] = None,
    learning_rate: float = 2e-3,
    loss: Annotated[Literal["l1", "stft", "l1+stft"], Parameter(help="Of waveforms, of spectrograms, or both.")] = "l1",
    truncate: Annotated[
        str | None,
        Parameter(help="Ignore each batch's largest losses, those above this quantile: 0.7, or 0.7,0.5,0.3 in thirds."),
    ] = None,
    coherent: Annotated[float, Parameter(help="The share of examples that come from one song at one time.")] = 0.0,
    validation: Annotated[float, Parameter(help="The share of the songs kept aside to watch the training on.")] = 0.1,
    unsure: Annotated[bool, Parameter(negative="", help="Learn from the unsure stems of a run as well.")] = False,
    rate: Annotated[int, Parameter(help="The separator's sampling rate in Hz.")] = 44100,
    seed: int = 0,
    device: Device = "auto",
    devices: Annotated[int | None, Parameter(help="How many GPUs; by default all.")] = None,
    nodes: Annotated[int, Parameter(help="How many machines.")] = 1,
    strategy: Annotated[str, Parameter(help="Lightning's, for several GPUs: ddp, fsdp, ...")] = "auto",
    workers: Workers = None,
    threads: Annotated[int, Parameter(help="Of one process on a CPU.")] = 1,
    cache: Cache = None,
    licence: Annotated[str, Parameter(help="The licence of the audio, kept with the separator.")] = "",
) -> None:
    """Train a separator on stems with label sets. A stem of `bass+drums` teaches the sum of the two.

    Example: `restem train run --out separator --max-time 2h`
    """
    from restem.separation.mixing import RemixSettings
    from restem.separation.models import parse_parameters
    from restem.separation.training import TrainSettings, parse_quantiles, parse_seconds
    from restem.separation.training import train as train_separator

    settings = TrainSettings(
        model=model,
        parameters=parse_parameters(model, set or []),
        segment_s=segment,
        rate_hz=rate,
        steps=steps,
        batch=batch,
        accumulate=accumulate,
        max_seconds=parse_seconds(max_time) if max_time else None,
        learning_rate=learning_rate,
        loss=loss,
        truncate=parse_quantiles(truncate) if truncate else (),
        mixing=RemixSettings(coherent=coherent),
        validation=validation,
        unsure=unsure,
        seed=seed,
    )
    with _progress() as progress:
        train_separator(
            _open_data(data, layout, classes), out, settings, cache=cache, device=device,
            devices="auto" if devices is None else devices, nodes=nodes, strategy=strategy, workers=workers,
            threads=threads, licence=licence, progress=progress,
        )  # fmt: skip
    _say(f"The separator is in {out}; use it with `restem separate {out} song.wav --out separated`.")


@app.command
def separate(
    model: Annotated[Path, Parameter(help="The folder of a separator.")],
    /,
    *songs: Annotated[Path, Parameter(help="Audio files.")],
    out: Annotated[Path, Parameter(help="A folder; every song gets one in it.")],
    stems: Annotated[str | None, Parameter(help="Comma-separated classes to write; by default all.")] = None,
    residual: Annotated[bool, Parameter(negative="", help="Also write what the stems leave of the song.")] = False,
    overlap: Annotated[float, Parameter(help="Of the pieces in which a song is taken apart.")] = 0.25,
    shifts: Annotated[
        int, Parameter(help="Average over so many random shifts: better, and as many times as slow.")
    ] = 0,
    seed: Annotated[int, Parameter(help="Of the shifts.")] = 0,
    format: Annotated[Literal["wav", "flac", "ogg", "mp3"], Parameter(help="What to write.")] = "wav",
    depth: Annotated[Literal["16", "24", "float"], Parameter(help="Bits of WAV and FLAC.")] = "16",
    device: Device = "auto",
) -> None:
    """Take songs apart, at their own rate and length.

    Example: `restem separate separator song.mp3 --out separated --stems vocals --residual`
    """
    from restem.separation.songs import separate as separate_songs

    if not songs:
        raise UsageError("Name at least one song.")
    with _progress() as progress:
        summary = separate_songs(
            model, songs, out, stems=[name.strip() for name in stems.split(",")] if stems else (), residual=residual,
            overlap=overlap, shifts=shifts, seed=seed, format=format, depth=depth, device=device, progress=progress,
        )  # fmt: skip
    for folder in summary.done:
        _say(str(folder))
    for folder in summary.clipped:
        _complain(f"{folder}: something was louder than full scale, and was cut; use --format wav --depth float.")
    for reason in summary.failed.values():
        _complain(reason)
    if summary.failed:
        raise RestemError(f"{len(summary.failed)} of {len(songs)} songs could not be separated.")


@app.command
def evaluate(
    *paths: Annotated[Path, Parameter(help="MODEL DATASET, or DATASET alone with --estimates.")],
    estimates: Annotated[Path | None, Parameter(help="A folder with SONG/CLASS.EXT, whatever made it.")] = None,
    out: Annotated[Path | None, Parameter(help="A folder for songs.csv and summary.json.")] = None,
    against: Annotated[Path | None, Parameter(help="Another result, to compare with song by song.")] = None,
    overlap: Annotated[float, Parameter(help="Of the pieces in which a song is taken apart.")] = 0.25,
    shifts: Annotated[
        int, Parameter(help="Average over so many random shifts: better, and as many times as slow.")
    ] = 0,
    seed: Annotated[int, Parameter(help="Of the shifts.")] = 0,
    layout: LayoutOption = None,
    classes: Classes = DEFAULT_CLASSES,
    device: Device = "auto",
) -> None:
    """Measure a separator, or anybody's estimates, on the songs of a dataset: SDR, BSSEval v4 SDR, SI-SDR.

    Example: `restem evaluate separator test-songs --out result --against other-result`
    """
    from restem.api import evaluate as evaluate_songs
    from restem.evaluation.separation import print_evaluation, read_evaluation

    if len(paths) != (1 if estimates else 2):
        raise UsageError("Give MODEL DATASET, or --estimates DIR DATASET.")
    other = read_evaluation(against) if against else None
    opened = _open(paths[-1], layout, classes)
    with _progress() as progress:
        evaluation = evaluate_songs(
            opened, model=None if estimates else paths[0], estimates=estimates, out=out,
            overlap=overlap, shifts=shifts, seed=seed, device=device, progress=progress,
        )  # fmt: skip
    print_evaluation(evaluation, _console(), other)
    if evaluation.failed:
        raise RestemError(f"{len(evaluation.failed)} of {len(opened.songs)} songs could not be measured.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 failed, 2 bad usage, 130 interrupted."""
    sys.exit(run_command(sys.argv[1:] if arguments is None else arguments))


def run_command(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit status."""
    debug = "--debug" in arguments
    tokens = [argument for argument in arguments if argument != "--debug"]
    try:
        app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        if debug:
            raise
        _complain(f"{error} (see `restem {_command(tokens)}--help`)".replace("\n", " "))
        return 2
    except RestemError as error:
        if debug:
            raise
        _complain(str(error))
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        _complain("Interrupted; the same command goes on from here.")
        return 130
    except OSError as error:
        if debug:
            raise
        _complain(f"{error.filename or 'restem'}: {(error.strerror or str(error)).lower()}.")
        return 1
    except Exception as error:
        if debug:
            raise
        _complain(f"A fault in restem itself: {type(error).__name__}: {error}\nAdd --debug to see where.")
        return 1
    return 0


def _open(path: Path, layout: Layout | None, classes: str) -> Dataset:
    from restem.dataset.layouts import open_dataset
    from restem.taxonomy import read_taxonomy

    return open_dataset(path, layout=layout, taxonomy=read_taxonomy(classes))


def _open_data(path: Path, layout: Layout | None, classes: str) -> Dataset | Run:
    """A run, if the folder holds one, or else a dataset."""
    from restem.dataset.run import DESCRIPTION_FILE, open_run

    return open_run(path) if (path / DESCRIPTION_FILE).exists() else _open(path, layout, classes)


def _command(tokens: Sequence[str]) -> str:
    """The command that was meant, with a space, or nothing if there is none of that name."""
    return f"{tokens[0]} " if tokens and tokens[0] in app else ""


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _say(message: str) -> None:
    print(message)


def _complain(message: str) -> None:
    print(f"restem: {message}", file=sys.stderr)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A progress bar a stage on the terminal; in a pipe, a line when a stage begins."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    stages: dict[str, int] = {}
    with Bars(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bars:

        def show(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total)  # type: ignore[assignment]
                if not console.is_terminal:
                    print(f"{stage} ...", file=sys.stderr, flush=True)
            bars.update(stages[stage], completed=done, total=total)  # type: ignore[arg-type]

        yield show


if __name__ == "__main__":
    main()

"""The command line: parses, calls, prints. What the commands do lives in the rest of the house."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from restem._version import __version__
from restem.cli import separation
from restem.cli.shared import (
    DEFAULT_CLASSES,
    Cache,
    Classes,
    Device,
    LayoutOption,
    Workers,
    complain,
    open_stems,
    progress_bars,
    say,
    terminal,
)
from restem.errors import RestemError, UsageError

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
    from restem.cli.terminal import print_demo
    from restem.demo.demo import run_demo

    console = terminal()
    with progress_bars() as progress:
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
    from restem.cli.terminal import print_scan
    from restem.dataset.scan import scan as scan_dataset
    from restem.dataset.scan import summarise
    from restem.files import written_aside

    opened = open_stems(dataset, layout, classes)
    with progress_bars() as progress:
        table = scan_dataset(opened, workers=workers, progress=progress)
    if csv is not None:
        with written_aside(csv) as aside:
            table.write_csv(aside, float_precision=6)
    print_scan(summarise(table, opened), table, opened, terminal())


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
    among: Annotated[
        str | None, Parameter(help="Only these classes are confused, as bass,other; by default all.")
    ] = None,
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

    opened = open_stems(dataset, layout, classes)
    with progress_bars() as progress:
        corrupt_dataset(
            opened, out, kind=kind, rate=rate, level_db=level_db, seed=seed, extension=format, workers=workers,
            among=None if among is None else [name.strip() for name in among.split(",")],
            progress=progress,
        )  # fmt: skip
    say(f"The noisy copy is in {out}, its truth in {out / 'truth.csv'}.")


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
        Literal["pretrained", "scratch"] | None,
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
    from restem.cli.terminal import print_summary

    opened = open_stems(dataset, layout, classes)
    with progress_bars() as progress:
        run = refine_dataset(
            opened, out, size=size, start=start, rounds=rounds, folds=folds, steps=steps, seed=seed, cache=cache,
            device=device, workers=workers, licence=licence, decisions=decisions, progress=progress,
        )  # fmt: skip
    print_summary(run, terminal())
    say(f"\nThe labels are in {run.path / 'labels.csv'}, the report in {run.path / 'report.html'}.")


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
    from restem.cli.terminal import print_score
    from restem.files import write_json

    result = score_run(run, truth, decisions=decisions)
    if as_json is not None:
        write_json(as_json, result.as_dict())
    print_score(result, terminal())


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

    say(f"The report is in {write_report(run, out, audio=audio)}.")


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
    from restem.runs.run import export_decisions, import_decisions

    if import_ is not None:
        say(f"New decisions from {import_}: {import_decisions(run, import_)}.")
    if export is not None:
        say(f"Decisions in {export}: {export_decisions(run, export)}.")
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

    with progress_bars() as progress:
        summary = export_run(
            run, out, layout=layout, link=link, licence=licence, split=split, device=device,
            progress=progress,
        )  # fmt: skip
    say(str(summary))


for _command in (separation.train, separation.separate, separation.evaluate):
    app.command(_command)


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
        complain(f"{error} (see `restem {_meant(tokens)}--help`)".replace("\n", " "))
        return 2
    except RestemError as error:
        if debug:
            raise
        complain(str(error))
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        complain("Interrupted; the same command goes on from here.")
        return 130
    except OSError as error:
        if debug:
            raise
        complain(f"{error.filename or 'restem'}: {(error.strerror or str(error)).lower()}.")
        return 1
    except Exception as error:
        if debug:
            raise
        complain(f"A fault in restem itself: {type(error).__name__}: {error}\nAdd --debug to see where.")
        return 1
    return 0


def _meant(tokens: Sequence[str]) -> str:
    """The command that was meant, with a space, or nothing if there is none of that name."""
    return f"{tokens[0]} " if tokens and tokens[0] in app else ""


if __name__ == "__main__":
    main()

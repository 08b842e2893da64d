"""The commands that refine datasets and work with runs: `demo`, `refine`, `score`, `report`, `review`, `export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from restem.cli.defaults import defaults_of
from restem.cli.options import (
    DEFAULT_CLASSES,
    Cache,
    Classes,
    DatasetPath,
    Device,
    DryRun,
    Figures,
    LayoutOption,
    Licence,
    MetadataOption,
    Moved,
    Ray,
    RefineArguments,
    RunPath,
    Seed,
    Splits,
    Workers,
)
from restem.cli.shared import (
    open_run_at,
    open_stems_aloud,
    progress_bars,
    say,
    say_plan,
    terminal,
    write_figures,
)
from restem.errors import RestemError, UsageError
from restem.wording import counted

if TYPE_CHECKING:
    from restem.progress import Progress
    from restem.runs.export import ExportSummary
    from restem.runs.run import Run

_EXPORT = defaults_of("restem.separator_api", "export")
_REVIEW = defaults_of("restem.api", "serve_review")
_REFINED = defaults_of("restem.api", "refine")
_REFINE = RefineArguments()
_DEMO = defaults_of("restem.demo.demo", "run_demo")


def demo(
    out: Annotated[Path, Parameter(help="The folder for everything the demo makes.")] = Path("restem-demo"),
    /,
    *,
    songs: Annotated[int, Parameter(help="How many songs to render.")] = _DEMO["songs"],
    seed: Seed = _DEMO["seed"],
    separate: Annotated[
        bool, Parameter(negative="", help="Also train separators on given and on refined labels, and compare them.")
    ] = _DEMO["separate"],
    device: Device = "auto",
    workers: Workers = None,
    cache: Cache = None,
    as_json: Figures = None,
) -> None:
    """Show the whole method on a generated band, without any download.

    Renders a band, mixes up its stems, refines the labels, and compares them with the truth.

    Example: `restem demo`
    """
    from restem.cli.comparisons import print_demo
    from restem.demo.demo import FIGURES_FILE, run_demo
    from restem.files import read_json
    from restem.working import alone_in

    console = terminal()
    with alone_in(out), progress_bars() as progress:
        result = run_demo(
            out, songs=songs, seed=seed, separate=separate, device=device, workers=workers, cache=cache,
            progress=progress,
        )  # fmt: skip
    write_figures(as_json, read_json(out / FIGURES_FILE))
    print_demo(result, console)


def refine(
    dataset: DatasetPath,
    /,
    *,
    out: Annotated[Path, Parameter(help="The folder of the run; started again, an interrupted run goes on.")],
    layout: LayoutOption = None,
    metadata: MetadataOption = None,
    taxonomy: Classes = DEFAULT_CLASSES,
    splits: Splits = None,
    settings: Annotated[RefineArguments, Parameter(name="*")] = _REFINE,
    device: Device = "auto",
    workers: Workers = None,
    ray: Ray = None,
    cache: Cache = None,
    licence: Licence = "",
    decisions: Annotated[
        Path | None, Parameter(help="A run; what people decided about it is taken as certain.")
    ] = None,
    audit: Annotated[
        Path | None,
        Parameter(
            help="An audit of the dataset: songs that share a recording stay in one fold, and stems that are not fit "
            "for it are not learned from."
        ),
    ] = None,
    as_json: Figures = None,
    dry_run: DryRun = False,
) -> None:
    """Find what is in every stem, correct the labels, and leave a run: tables, classifier and report.

    Example: `restem refine my-stems --out run`
    """
    from restem import RefineSettings
    from restem.api import refine as refine_dataset
    from restem.cli.terminal import NO_ENCODER, print_next_steps, print_summary
    from restem.labelling.encoders.registry import chosen_encoder
    from restem.runs.findings import summary_of

    # First, since what is wrong with them can be said at once.
    chosen = RefineSettings(**vars(settings))
    if chosen_encoder(chosen.encoder) is None and chosen.encoder == "auto":
        say(NO_ENCODER)
    opened = open_stems_aloud(dataset, layout, taxonomy, metadata, splits, "learn")
    if as_json is not None:
        opened.check_outside(as_json)

    def work(progress: Progress | None = None) -> Run:
        return refine_dataset(
            opened, out, chosen, cache=cache, device=device, workers=workers, ray=ray, licence=licence,
            decisions=decisions, audit=audit, progress=progress,
        )  # fmt: skip

    if dry_run:
        from restem.planning.refining import plan_refine

        say_plan(work, lambda: plan_refine(opened, out, chosen, cache=cache, device=device, workers=workers))
        return
    with progress_bars() as progress:
        run = work(progress)
    write_figures(as_json, summary_of(run))
    print_summary(run, terminal())
    say(f"\nThe labels are in {run.place / 'labels.csv'}, the report in {run.place / 'report.html'}.")
    print_next_steps(run, terminal())


def score(
    run: RunPath,
    truth: Annotated[Path | None, Parameter(help="A CSV song,stem,given,true; true is a label set.")] = None,
    /,
    *,
    decisions: Annotated[
        Path | None,
        Parameter(
            help="Instead of a truth, a run: what people decided about its stems, or times in them, is the truth."
        ),
    ] = None,
    known_errors: Annotated[
        bool, Parameter(name="--errata", negative="", help="Instead of a truth: where published label errors are put.")
    ] = False,
    as_json: Figures = None,
) -> None:
    """Compare the labels of a run with the truth, where it is known; else estimate how many are wrong.

    Example: `restem score run noisy-stems/truth.csv`
    """
    from restem.api import score as score_run
    from restem.cli.comparisons import print_range_score, print_remaining, print_score
    from restem.evaluation.ranges import score_ranges
    from restem.review.remaining import remaining_in
    from restem.runs.run import open_run

    opened = open_run(run)
    if known_errors:
        if truth is not None or decisions is not None or as_json is not None:
            raise UsageError("`--errata` stands alone.")
        from restem.cli.comparisons import print_errata_score
        from restem.evaluation.errata import score_errata

        print_errata_score(score_errata(opened), terminal())
        return
    if as_json is not None:
        opened.check_outside(as_json)
    if truth is None and decisions is None:
        left = remaining_in(opened)
        write_figures(as_json, vars(left))
        print_remaining(left, terminal())
        return
    decided = None if decisions is None else open_run(decisions)
    if decided is not None and decided.decided and all(one.labels is None for one in decided.decided.values()):
        over_time = score_ranges(opened, decided)
        if over_time is not None:  # only time ranges were decided
            write_figures(as_json, {"over_time": vars(over_time)})
            print_range_score(over_time, terminal())
            return
    result = score_run(opened, truth, decisions=decided)
    write_figures(as_json, result.as_dict())
    print_score(result, terminal())


def report(
    run: RunPath,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="The file; by default RUN/report.html.")] = None,
    audio: Annotated[bool, Parameter(negative="", help="Also put a few seconds of every pictured stem in it.")] = False,
    audit: Annotated[Path | None, Parameter(help="An audit of the dataset, whose findings are listed.")] = None,
    moved: Moved = None,
) -> None:
    """Write the report of a run again: one self-contained HTML file.

    Example: `restem report run --audio`
    """
    from restem.api import report as write_report

    say(f"The report is in {write_report(open_run_at(run, moved), out, audio=audio, audit=audit)}.")


def review(
    run: RunPath,
    /,
    *,
    export_decisions: Annotated[
        Path | None, Parameter(alias="--export", help="Write the decisions to this CSV, and do nothing else.")
    ] = None,
    import_decisions: Annotated[
        Path | None, Parameter(alias="--import", help="Add the decisions in this CSV, and do nothing else.")
    ] = None,
    export_labels: Annotated[
        Path | None, Parameter(help="Write what was found over time to this folder, and do nothing else.")
    ] = None,
    label_format: Annotated[
        Literal["audacity", "jams", "csv"],
        Parameter(help="audacity: label tracks, also for Reaper. jams: a JAMS file per stem. csv: one table."),
    ] = "audacity",
    import_labels: Annotated[
        Path | None, Parameter(help="Add the labels in this folder of label tracks that were added or moved.")
    ] = None,
    person: Annotated[str, Parameter(help="Who decides; by default the user.", show_default=False)] = _REVIEW["person"],
    port: Annotated[int, Parameter(help="The port on this machine; 0 is any that is free.")] = _REVIEW["port"],
    browser: Annotated[bool, Parameter(help="Open the page in a browser.")] = _REVIEW["browser"],
    follow_links: Annotated[
        bool, Parameter(negative="", help="Also play files outside of the dataset that links in it lead to.")
    ] = _REVIEW["follow_links"],
    audit: Annotated[
        Path | None, Parameter(help="An audit of the dataset: its findings can be heard and judged too.")
    ] = None,
    moved: Moved = None,
    cache: Cache = None,
) -> None:
    """Listen to the doubtful stems of a run on a local page, and confirm or correct their labels.

    Example: `restem review run`
    """
    from restem.api import serve_review
    from restem.runs import label_tracks
    from restem.runs import run as runs

    if import_decisions is not None:
        say(f"New decisions from {import_decisions}: {runs.import_decisions(run, import_decisions)}.")
    if export_decisions is not None:
        say(f"Decisions in {export_decisions}: {runs.export_decisions(run, export_decisions)}.")
    if import_labels is not None:
        count = label_tracks.import_label_tracks(run, import_labels, person=person)
        say(f"New decisions from {import_labels}: {count}.")
    if export_labels is not None:
        count = label_tracks.export_label_tracks(run, export_labels, label_format)
        say(f"What was found over time is in {export_labels}: {counted(count, 'file')}.")
    if not (import_decisions or export_decisions or import_labels or export_labels):
        opened = run if moved is None else open_run_at(run, moved)
        serve_review(
            opened, cache=cache, port=port, person=person, follow_links=follow_links, browser=browser, audit=audit
        )


def export(
    run: RunPath,
    out: Annotated[Path, Parameter(help="The new folder.")],
    /,
    *,
    layout: Annotated[
        Literal[
            "table", "classes", "songs", "musdb", "demucs", "open-unmix", "msst-1", "msst-2", "msst-3", "audiofolder"
        ],
        Parameter(
            help="table: all stems with their label sets, for restem. classes, songs: the files of stems with one "
            "label. The others: whole songs, as these programs read them."
        ),
    ] = _EXPORT["layout"],
    link: Annotated[Literal["symlink", "hard", "copy"], Parameter(help="How files get there.")] = _EXPORT["link"],
    licence: Licence = _EXPORT["licence"],
    split: Annotated[
        Path | None,
        Parameter(help="A separator: it takes stems with several labels apart, into estimates that add up."),
    ] = None,
    remove_bleed: Annotated[
        bool, Parameter(negative="", help="Take out the bleed that the audit found, where it is sure.")
    ] = _EXPORT["remove_bleed"],
    audit: Annotated[Path | None, Parameter(help="An audit of the dataset, for --remove-bleed.")] = None,
    moved: Moved = None,
    device: Device = "auto",
    workers: Workers = None,
    ray: Ray = None,
    as_json: Figures = None,
    dry_run: DryRun = False,
) -> None:
    """Make a refined dataset out of a run. Nothing is moved or changed in the source.

    Example: `restem export run refined-stems`
    """
    from restem.separator_api import export as export_run

    opened = open_run_at(run, moved)
    if as_json is not None:
        opened.check_outside(as_json)

    def work(progress: Progress | None = None) -> ExportSummary:
        return export_run(
            opened, out, layout=layout, link=link, licence=licence, split=split, remove_bleed=remove_bleed,
                audit=audit, device=device, workers=workers, ray=ray, progress=progress,
        )  # fmt: skip

    if dry_run:
        from restem.planning.datasets import plan_export

        say_plan(
            work,
            lambda: plan_export(
                opened, out, layout=layout, link=link, split=split, audit=audit, device=device, workers=workers
            ),
        )
        return
    with progress_bars() as progress:
        summary = work(progress)
    write_figures(as_json, summary.as_dict())
    say(str(summary))
    if summary.failed:
        count = f"{counted(len(summary.failed), 'stem')} could not be exported, and left out."
        raise RestemError("\n".join([*summary.failed.values(), count]))

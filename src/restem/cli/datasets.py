"""The commands about datasets themselves: `restem scan`, `errata` and `corrupt`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from restem.cli.defaults import defaults_of
from restem.cli.options import (
    DEFAULT_CLASSES,
    Classes,
    DatasetPath,
    DryRun,
    Figures,
    LayoutOption,
    MetadataOption,
    Only,
    Ray,
    Seed,
    Workers,
    parse_names,
)
from restem.cli.shared import (
    open_stems,
    open_stems_aloud,
    progress_bars,
    say,
    say_plan,
    terminal,
    write_figures,
)
from restem.errors import RestemError
from restem.wording import counted

if TYPE_CHECKING:
    from restem.progress import Progress

_CORRUPT = defaults_of("restem.dataset.corrupt", "corrupt")


def scan(
    dataset: DatasetPath,
    /,
    *,
    layout: LayoutOption = None,
    metadata: MetadataOption = None,
    taxonomy: Classes = DEFAULT_CLASSES,
    csv: Annotated[
        Path | None, Parameter(help="Also write a table to this file: a row per stem or skipped file.")
    ] = None,
    draft: Annotated[
        Path | None,
        Parameter(
            help="Also write classes.yaml and stems.csv, with what was not understood, to this folder; edit them."
        ),
    ] = None,
    workers: Workers = None,
    ray: Ray = None,
    as_json: Figures = None,
) -> None:
    """Look over a dataset: songs, classes, hours, rates, silent stems, and what was skipped and why.

    Example: `restem scan my-stems --csv stems.csv`
    """
    from restem.cli.terminal import print_scan
    from restem.dataset.draft import write_draft
    from restem.dataset.scan import ScanSummary, with_skipped
    from restem.dataset.scan import scan as scan_dataset
    from restem.files import written_aside
    from restem.taxonomy import read_taxonomy

    if draft is not None:
        unknown = write_draft(dataset, draft, layout=layout, taxonomy=read_taxonomy(taxonomy), metadata=metadata)
        say(f"A draft is in {draft}; {counted(unknown, 'file')} could not be understood. Edit it, and go on with")
        say(f"  --metadata {draft / 'stems.csv'} --classes {draft / 'classes.yaml'}\n")
    opened = open_stems(dataset, layout, taxonomy, metadata)  # what it holds is what is printed at the end
    opened.check_outside(*(path for path in (csv, as_json) if path is not None))
    with progress_bars() as progress:
        table = scan_dataset(opened, workers=workers, ray=ray, progress=progress)
    if csv is not None:
        with written_aside(csv) as aside:
            with_skipped(table, opened).write_csv(aside, float_precision=6)
    summary = ScanSummary.of(opened, table)
    write_figures(as_json, {**vars(summary), "root": str(summary.root)})
    print_scan(summary, table, opened, terminal())


def errata(
    dataset: DatasetPath,
    /,
    *,
    apply: Annotated[
        Path | None,
        Parameter(
            help="Write a CSV of all stems to this file, with right labels where they are known; for --metadata."
        ),
    ] = None,
    csv: Annotated[Path | None, Parameter(help="Also write the list, with its sources, to this file.")] = None,
    layout: LayoutOption = None,
    metadata: MetadataOption = None,
) -> None:
    """List the published errors of a public dataset that concern the stems at hand.

    Example: `restem errata musdb18hq --apply corrected.csv`
    """
    from restem.cli.terminal import print_errata
    from restem.dataset.errata import errata as errata_of_dataset
    from restem.dataset.errata import write_corrected
    from restem.files import written_aside

    opened = open_stems(dataset, layout, DEFAULT_CLASSES, metadata)
    table = errata_of_dataset(opened)
    print_errata(table, terminal())
    if csv is not None:
        opened.check_outside(csv)
        with written_aside(csv) as aside:
            table.write_csv(aside)
    if apply is not None:
        count = write_corrected(opened, apply)
        say(f"{apply} holds all stems, {count} of them with other labels: --metadata {apply}")


def corrupt(
    dataset: DatasetPath,
    out: Annotated[Path, Parameter(help="The folder of the copy; started again, an interrupted copy goes on.")],
    /,
    *,
    kind: Annotated[
        Literal["regroup", "swap", "bleed", "partial"],
        Parameter(
            help="regroup: sources move into other stems of their song. swap: stems get another class's label. "
            "bleed: every stem also holds the others. partial: sources are heard in other stems for a few seconds."
        ),
    ] = _CORRUPT["kind"],
    rate: Annotated[float, Parameter(help="The probability that a source or stem is affected.")] = _CORRUPT["rate"],
    level_db: Annotated[float, Parameter(help="For bleed: the level of what bleeds in, in dB.")] = _CORRUPT["level_db"],
    among: Annotated[
        str | None, Parameter(help="Only these classes are confused, as bass,other; by default all.")
    ] = None,
    seed: Seed = _CORRUPT["seed"],
    format: Annotated[
        Literal["flac", "wav"], Parameter(help="What to write, with 24 bits; both are lossless.")
    ] = _CORRUPT["format"],
    layout: LayoutOption = None,
    metadata: MetadataOption = None,
    taxonomy: Classes = DEFAULT_CLASSES,
    only: Only = _CORRUPT["only"],
    workers: Workers = None,
    ray: Ray = None,
    dry_run: DryRun = False,
) -> None:
    """Make a noisy copy of a clean dataset, with its truth in OUT/truth.csv.

    Example: `restem corrupt clean-stems noisy-stems --kind regroup --rate 0.2 --seed 1`
    """
    from restem.cli.terminal import print_notes
    from restem.dataset.corrupt import corrupt as corrupt_dataset
    from restem.dataset.corrupt import failures_and_notes

    opened = open_stems_aloud(dataset, layout, taxonomy, metadata)

    def work(progress: Progress | None = None) -> Path:
        return corrupt_dataset(
            opened, out, kind=kind, rate=rate, level_db=level_db, seed=seed, format=format, workers=workers,
            ray=ray, among=parse_names(among), only=only, progress=progress,
        )  # fmt: skip

    if dry_run:
        from restem.planning.datasets import plan_corrupt

        say_plan(work, lambda: plan_corrupt(opened, out, format=format, workers=workers))
        return
    with progress_bars() as progress:
        work(progress)
    say(f"The noisy copy is in {out}, its truth in {out / 'truth.csv'}.")
    failed, notes = failures_and_notes(out)
    print_notes(notes, terminal())
    if failed:
        count = f"{len(failed)} of {len(opened.songs)} songs could not be mixed, and are left out."
        raise RestemError("\n".join([*failed.values(), count]))

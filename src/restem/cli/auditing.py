"""The command `restem audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from restem.cli.options import DEFAULT_CLASSES, Classes, DatasetPath, DryRun, Figures, LayoutOption, Ray, Workers
from restem.cli.shared import open_stems, progress_bars, say, say_plan, terminal, write_figures

if TYPE_CHECKING:
    from restem.auditing.audit import Audit
    from restem.progress import Progress


def audit(
    dataset: DatasetPath,
    /,
    *,
    out: Annotated[Path, Parameter(help="The folder of the audit; started again, an interrupted audit goes on.")],
    layout: LayoutOption = None,
    taxonomy: Classes = DEFAULT_CLASSES,
    mixtures: Annotated[
        Path | None,
        Parameter(help="A folder with SONG.wav or SONG/mixture.wav; by default the mixtures beside the stems."),
    ] = None,
    run: Annotated[
        Path | None,
        Parameter(
            help="A run of the dataset: stems in which it heard no class, and copies in different folds, are named."
        ),
    ] = None,
    workers: Workers = None,
    ray: Ray = None,
    as_json: Figures = None,
    dry_run: DryRun = False,
) -> None:
    """Find what else is wrong with a dataset: duplicates, mixtures that do not add up, bleed, damage.

    Example: `restem audit my-stems --out audit`
    """
    from restem.api import audit as audit_dataset
    from restem.cli.terminal import print_audit

    opened = open_stems(dataset, layout, taxonomy)
    if as_json is not None:
        opened.check_outside(as_json)

    def work(progress: Progress | None = None) -> Audit:
        return audit_dataset(opened, out, mixtures=mixtures, run=run, workers=workers, ray=ray, progress=progress)

    if dry_run:
        from restem.planning.datasets import plan_audit

        say_plan(work, lambda: plan_audit(opened, out, workers=workers))
        return
    with progress_bars() as progress:
        found = work(progress)
    write_figures(as_json, found.as_dict())
    print_audit(found, terminal())
    say(f"\nThe findings are in {found.place / 'findings.csv'}, the report in {found.place / 'report.html'}.")

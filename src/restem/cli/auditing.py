"""The command `restem audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from restem.cli.options import DEFAULT_CLASSES, Classes, DatasetPath, Figures, LayoutOption, Ray, Workers
from restem.cli.shared import open_stems, progress_bars, say, terminal, write_figures


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
    workers: Workers = None,
    ray: Ray = None,
    as_json: Figures = None,
) -> None:
    """Find what else is wrong with a dataset: duplicates, mixtures that do not add up, bleed, damage.

    Example: `restem audit my-stems --out audit`
    """
    from restem.api import audit as audit_dataset
    from restem.cli.terminal import print_audit

    opened = open_stems(dataset, layout, taxonomy)
    if as_json is not None:
        opened.check_outside(as_json)
    with progress_bars() as progress:
        found = audit_dataset(opened, out, mixtures=mixtures, workers=workers, ray=ray, progress=progress)
    write_figures(as_json, found.as_dict())
    print_audit(found, terminal())
    say(f"\nThe findings are in {found.path / 'findings.csv'}, the report in {found.path / 'report.html'}.")

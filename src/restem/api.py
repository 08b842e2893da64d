"""The verbs that take more than one room of the house, and those that load much only when it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restem.addresses import Address, as_path, upload
from restem.changing import with_changes
from restem.dataset.layouts import opened_dataset
from restem.dataset.table import Dataset
from restem.errors import RestemError, UsageError
from restem.fetching import put_when_done
from restem.runs.run import DESCRIPTION_FILE, REPORT_FILE, Run, opened_run
from restem.wording import extra_command

if TYPE_CHECKING:
    from restem.auditing.audit import Audit
    from restem.evaluation.labels import LabelScore
    from restem.labelling.settings import RefineSettings
    from restem.progress import Progress

_LARGEST_PORT = 65535


def refine(
    dataset: Dataset | Path | str,
    out: Path | str,
    settings: RefineSettings | None = None,
    *,
    cache: Path | str | None = None,
    device: str = "auto",
    workers: int | None = None,
    ray: str | None = None,
    licence: str = "",
    decisions: Run | Path | str | None = None,
    audit: Audit | Path | str | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> Run:
    """Finds what is in every stem, corrects the labels, and leaves a run: tables, a classifier and a report.

    Interrupted and called again with the same arguments, it goes on; a finished run is read back.

    Parameters
    ----------
    dataset
        A dataset, or its path; of one at a path, the splits `test` and `omitted` are left out.
    out
        The folder of the run, on a disk or at an address, as `s3://bucket/run`.
    settings
        Everything the result depends on besides the dataset, by default `RefineSettings()`. With its `encoder="auto"`
        the result also depends on which encoders are installed; the run says which one was used.
    cache
        The folder in which features are kept; by default in the user's cache folder.
    device
        `auto`, `cpu`, `cuda` or `mps`.
    workers
        Processes; by default one for each available core.
    ray
        None for processes of this machine; else a Ray cluster: `local`, `auto` or HOST:PORT (docs/scale.md).
    licence
        The licence of the audio, kept with the classifier.
    decisions
        A run of the same dataset, or its folder; what people decided about it is taken as certain.
    audit
        An audit of the same dataset, or its folder: songs that share a recording are put into one fold, so that no stem
        is scored by a classifier that was trained on its copy, and classifiers do not learn from stems that are not fit
        for it (`Audit.unfit`).
    progress
        Called with the stage, what is done and in all.
    **changes
        Fields of `RefineSettings`, as `steps=100`, that replace those of `settings`.

    Returns
    -------
    Run
        What was found; `labels` holds one row per stem.

    Raises
    ------
    DatasetError
        When no stem can be used, or `out` lies in the dataset.
    RunError
        When `out` holds something else, or the audit is of another dataset.
    UsageError
        For settings that cannot be.

    Examples
    --------
    >>> run = restem.refine("my-stems", "my-run", folds=2, steps=3, seed=1, workers=1, device="cpu")
    >>> run.labels.select("song", "stem", "given").row(0)
    ('Song 1', 'Song 1/bass.wav', 'bass')
    """
    from restem.auditing.audit import opened_audit
    from restem.executing.processes import Processes
    from restem.labelling.refining import refine_labels
    from restem.labelling.settings import RefineSettings
    from restem.pretraining.heads import encoder_with_heads
    from restem.review.report import write_report

    settings = with_changes(settings or RefineSettings(), changes)
    decided = None if decisions is None else opened_run(decisions).decided
    stems = opened_dataset(dataset, "learn")
    audited = None if audit is None else opened_audit(audit, stems)
    encoder = encoder_with_heads(settings.encoder, Processes.of(workers), progress)
    out = as_path(out)
    stems.check_outside(out)
    with put_when_done(out, DESCRIPTION_FILE, "run") as folder:
        run = refine_labels(
            stems, folder, settings, cache=cache, device=device, workers=workers, ray=ray, licence=licence,
            decided=decided, encoder=encoder, progress=progress,
            duplicates=audited.duplicate_songs() if audited else None, unfit=audited.unfit() if audited else None,
        )  # fmt: skip
        run = replace(run, address=out if isinstance(out, Address) else None)
        if not (run.path / REPORT_FILE).exists():
            write_report(run)
    return run


def score(
    run: Run | Path | str, truth: Path | str | None = None, *, decisions: Run | Path | str | None = None
) -> LabelScore:
    """Compares the given and the refined labels of a run with the truth.

    Parameters
    ----------
    run
        A run, or its folder.
    truth
        A CSV with the columns `song,stem,given,true`; `true` is a label set, as `bass+drums`.
    decisions
        Instead of a truth, a run whose decided stems are taken as the truth. Only these are scored, with the labels as
        the classifiers left them. They were not drawn at random: doubtful ones come first in a review.

    Returns
    -------
    LabelScore
        Accuracies before and after, and how well the wrong stems were found.

    Raises
    ------
    UsageError
        Unless one of `truth` and `decisions` is given.
    DatasetError
        When the truth cannot be read, or is not about the run's stems.
    RunError
        When the run cannot be read or lacks a stem, or nothing was decided.

    Examples
    --------
    >>> restem.score("run", "truth.csv").given.label_accuracy
    1.0
    """
    from restem.evaluation.labels import score as score_against_truth
    from restem.evaluation.labels import score_against_decisions

    if (truth is None) == (decisions is None):
        raise UsageError("Give either a truth, a CSV song,stem,given,true, or a run with `decisions`.")
    if decisions is not None:
        return score_against_decisions(opened_run(run), opened_run(decisions))
    return score_against_truth(opened_run(run), as_path(str(truth)))


def report(
    run: Run | Path | str,
    out: Path | str | None = None,
    *,
    audio: bool = False,
    audit: Audit | Path | str | None = None,
) -> Path:
    """Writes the report of a run again: one self-contained HTML file.

    Parameters
    ----------
    run
        A run, or its folder.
    out
        The file; by default `report.html` in the run.
    audio
        Also put a few seconds of every pictured stem in it, those that speak most against its labels.
    audit
        An audit of the same dataset, or its folder, whose findings are listed with what people decided about them; by
        default those that the refinement kept.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    RunError
        When the run cannot be read, the audio that is to be put in has gone, or the audit is of another dataset.
    DatasetError
        When `out` lies in the dataset.

    Examples
    --------
    >>> restem.report("run", "report.html").name
    'report.html'
    """
    from restem.auditing.audit import opened_audit
    from restem.review.report import write_report

    opened = opened_run(run)
    audited = None if audit is None else opened_audit(audit, opened)
    written = write_report(opened, as_path(out) if out is not None else None, audio=audio, audit=audited)
    if out is None and isinstance(opened.address, Address):
        upload([(written, opened.address / REPORT_FILE)])
        return opened.address / REPORT_FILE
    return written


def serve_review(
    run: Run | Path | str,
    *,
    cache: Path | str | None = None,
    port: int = 0,
    person: str = "",
    follow_links: bool = False,
    browser: bool = True,
    audit: Audit | Path | str | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serves a page on which a person listens to the doubtful stems of a run and decides, until it is interrupted.

    Parameters
    ----------
    run
        A run, or its folder.
    cache
        The folder in which features are kept; by default in the user's cache folder.
    port
        The port on this machine; 0 for any that is free.
    person
        Who decides; by default the user.
    follow_links
        Also play files outside of the dataset that links in it lead to.
    browser
        Open the page in a browser.
    audit
        An audit of the same dataset, or its folder: its findings can be heard and judged on a second page.
    say
        Called with the page's address.

    Raises
    ------
    RestemError
        When the extra `review` is not installed.
    RunError
        When the run cannot be read, its dataset has gone, or the audit is of another one.
    UsageError
        For a port that cannot be used.
    """
    if not 0 <= port <= _LARGEST_PORT:
        raise UsageError(f"`port` must be from 0 to {_LARGEST_PORT}, not {port}.")
    try:
        from restem.review.server import serve
    except ModuleNotFoundError as error:
        raise RestemError(f"{error.name} is not installed; the review page needs {extra_command('review')}.") from error

    from restem.auditing.audit import opened_audit

    run = opened_run(run)
    opened = None if audit is None else opened_audit(audit, run)
    cache = as_path(cache) if cache is not None else None
    serve(
        run, cache=cache, port=port, person=person, follow_links=follow_links, browser=browser,
        audit=opened, say=say,
    )  # fmt: skip


def audit(
    dataset: Dataset | Path | str,
    out: Path | str,
    *,
    mixtures: Path | str | None = None,
    run: Run | Path | str | None = None,
    workers: int | None = None,
    ray: str | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Finds what is wrong with a dataset besides its labels: duplicates, mixtures that do not add up, bleed, damage.

    Interrupted and called again with the same arguments, it goes on; a finished audit is read back.

    Parameters
    ----------
    dataset
        A dataset, or its path.
    out
        The folder of the audit: `findings.csv`, `bleed.csv`, `mixtures.csv`, `audit.json` and `report.html`.
    mixtures
        A folder with `<song>.<ext>` or `<song>/mixture.<ext>`; by default the mixtures that lie beside the stems.
    run
        A run of the same dataset, or its folder: stems in which no class is heard are `foreign` too, and duplicates in
        different folds are leaks.
    workers
        Processes; by default one for each available core. The result does not depend on them.
    ray
        None for processes of this machine; else a Ray cluster: `local`, `auto` or HOST:PORT (docs/scale.md).
    progress
        Called with the stage, what is done and in all.

    Returns
    -------
    Audit
        What was found; `findings` holds one row per finding.

    Raises
    ------
    DatasetError
        When there is no dataset or no mixture, or `out` lies in the dataset.
    RunError
        When `out` holds something else, or the run is of another dataset.

    Examples
    --------
    >>> audit = restem.audit("my-stems", "my-audit", workers=1)
    >>> audit.mixtures["verdict"].to_list()
    ['none', 'none']
    """
    from restem.auditing.audit import RECORD_FILE, audit_dataset
    from restem.review.audit_report import write_audit_report

    dataset, out = opened_dataset(dataset), as_path(out)
    dataset.check_outside(out)
    with put_when_done(out, RECORD_FILE, "audit") as folder:
        found = audit_dataset(
            dataset, folder, mixtures=None if mixtures is None else as_path(mixtures),
            run=None if run is None else opened_run(run), workers=workers, ray=ray, progress=progress,
        )  # fmt: skip
        found = replace(found, address=out if isinstance(out, Address) else None)
        if not (found.path / REPORT_FILE).exists():
            write_audit_report(found)
    return found

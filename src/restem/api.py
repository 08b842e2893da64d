"""The verbs that take more than one room of the house, and those that load much only when it is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from restem.changing import with_changes
from restem.dataset.layouts import opened_dataset
from restem.dataset.table import Dataset
from restem.dataset.usage import check_mixtures
from restem.errors import RestemError, UsageError
from restem.runs.run import REPORT_FILE, Run, opened_run
from restem.wording import extra_command

if TYPE_CHECKING:
    from restem.auditing.audit import Audit
    from restem.evaluation.labels import LabelScore
    from restem.evaluation.separation import Evaluation
    from restem.labelling.settings import RefineSettings
    from restem.progress import Progress
    from restem.runs.export import ExportLayout, ExportSummary
    from restem.runs.links import Link
    from restem.runs.training_sets import TrainingLayout
    from restem.separation.separator import Separator

_LARGEST_PORT = 65535


def refine(
    dataset: Dataset | Path | str,
    out: Path | str,
    settings: RefineSettings | None = None,
    *,
    cache: Path | str | None = None,
    device: str = "auto",
    workers: int | None = None,
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
        The folder of the run.
    settings
        Everything the result depends on besides the dataset, by default `RefineSettings()`. With its `encoder="auto"`
        the result also depends on which encoders are installed; the run says which one was used.
    cache
        The folder in which features are kept; by default in the user's cache folder.
    device
        `auto`, `cpu`, `cuda` or `mps`.
    workers
        Processes; by default one for each available core.
    licence
        The licence of the audio, kept with the classifier.
    decisions
        A run of the same dataset, or its folder; what people decided about it is taken as certain.
    audit
        An audit of the same dataset, or its folder: songs that share a recording are put into one fold, so that no stem
        is scored by a classifier that was trained on its copy.
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

    settings = with_changes(settings or RefineSettings(), changes)
    decided = None if decisions is None else opened_run(decisions).decided
    stems = opened_dataset(dataset, "learn")
    duplicates = None if audit is None else opened_audit(audit, stems).duplicate_songs()
    encoder = encoder_with_heads(settings.encoder, Processes.of(workers), progress)
    run = refine_labels(
        stems, out, settings, cache=cache, device=device, workers=workers, licence=licence, decided=decided,
        encoder=encoder, duplicates=duplicates, progress=progress,
    )  # fmt: skip
    if not (run.path / REPORT_FILE).exists():
        report(run)
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
    return score_against_truth(opened_run(run), Path(str(truth)))


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

    run = opened_run(run)
    opened = None if audit is None else opened_audit(audit, run)
    return write_report(run, Path(out) if out is not None else None, audio=audio, audit=opened)


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
    cache = Path(cache) if cache is not None else None
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
    from restem.auditing.audit import audit_dataset
    from restem.review.audit_report import write_audit_report

    found = audit_dataset(
        opened_dataset(dataset), Path(out), mixtures=None if mixtures is None else Path(mixtures),
        run=None if run is None else opened_run(run), workers=workers, progress=progress,
    )  # fmt: skip
    if not (found.path / REPORT_FILE).exists():
        write_audit_report(found)
    return found


def evaluate(
    dataset: Dataset | Path | str,
    *,
    model: Separator | Path | str | None = None,
    estimates: Path | str | None = None,
    out: Path | str | None = None,
    overlap: float = 0.25,
    shifts: int = 0,
    seed: int = 0,
    only: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> Evaluation:
    """Measures a separator, or anybody's estimates, on the songs of a dataset: SDR, BSSEval v4 SDR, SI-SDR.

    Interrupted and called again with the same `out` and separator, it goes on after the songs that were measured. A
    song that cannot be measured is reported, and the others go on.

    Parameters
    ----------
    dataset
        A dataset, or its path; of one at a path that has a split `test`, only that is used. The sum of a song's stems
        is what is taken apart.
    model
        A separator, or its folder.
    estimates
        Instead of a separator, a folder with `<song>/<class>.<ext>`, whatever made it.
    out
        A folder for `songs.csv` and `summary.json`.
    overlap, shifts, seed
        See `separate`.
    only
        Leave stems of no class out of the mixtures; otherwise they are an error.
    device
        `auto`, `cpu`, `cuda` or `mps`.
    progress
        Called with the stage, the songs done and in all.

    Returns
    -------
    Evaluation
        `songs` holds one row per song and class, `summary()` the means.

    Raises
    ------
    UsageError
        Unless one of `model` and `estimates` is given, and for an option that cannot be.
    DatasetError
        When there is no song, a stem is of no class (without `only`), or `out` lies in the dataset.
    RestemError
        For a separator that cannot be used, or has other classes than the dataset.

    Examples
    --------
    >>> evaluation = restem.evaluate("my-stems", estimates="my-stems")
    >>> evaluation.songs.columns
    ['song', 'class', 'sdr', 'sdr_frames', 'si_sdr', 'mixture_sdr']
    """
    from restem.evaluation.separation import evaluate as evaluate_estimates

    if (model is None) == (estimates is None):
        raise UsageError("Give either `model`, a separator, or `estimates`, a folder of them.")
    dataset = opened_dataset(dataset, "evaluate")
    check_mixtures(dataset, only)
    if estimates is not None:
        return evaluate_estimates(dataset, estimates, out, progress=progress)
    from restem.devices import choose_device
    from restem.separation.separator import Separator, load_separator
    from restem.separation.songs import separate_mixture
    from restem.separation.streaming import check_pieces

    check_pieces(overlap, shifts)
    separator = model if isinstance(model, Separator) else load_separator(Path(str(model)))
    if separator.config.classes != dataset.taxonomy.classes:
        raise RestemError(
            f"The separator was trained on {','.join(separator.config.classes)}, the dataset has "
            f"{','.join(dataset.taxonomy.classes)}; name its classes with `taxonomy`."
        )
    device = choose_device(device)
    return evaluate_estimates(
        dataset,
        lambda _, mixture, rate_hz, channels: separate_mixture(
            separator, mixture, rate_hz, channels, overlap, device, shifts, seed
        ),
        out,
        made_by={"separator": separator.fingerprint(), "overlap": overlap, "shifts": shifts, "seed": seed},
        progress=progress,
    )


def export(
    run: Run | Path | str,
    out: Path | str,
    *,
    layout: ExportLayout | TrainingLayout = "table",
    link: Link = "symlink",
    licence: str = "",
    split: Path | str | None = None,
    remove_bleed: bool = False,
    audit: Audit | Path | str | None = None,
    device: str = "auto",
    workers: int | None = None,
    progress: Progress | None = None,
) -> ExportSummary:
    """Makes a refined dataset out of a run. Nothing is moved or changed in the source.

    Failed and silent stems are left out. `out` appears when it is complete.

    Parameters
    ----------
    run
        A run, or its folder.
    out
        The new folder.
    layout
        `table`: all stems with their label sets, for restem. `classes`, `songs`: the files of stems with one label.
        `musdb`, `demucs`, `open-unmix`, `msst-1` to `msst-3`, `audiofolder`: whole songs as these programs read them.
    link
        How files get there: `symlink`, `hard` or `copy`. What is written to a hard link changes the original, too. In
        the layouts of other programs, files are always written.
    licence
        The licence of the audio, for the manifest; by default the run's.
    split
        The folder of a separator: it takes stems with several labels apart, into estimates that add up to the stem.
    remove_bleed
        Take the bleed out of stems that `audit` found, where it is sure; they are written anew and marked as processed.
    audit
        An audit of the run's dataset, or its folder.
    device
        Where the separator runs: `auto`, `cpu`, `cuda` or `mps`.
    workers
        Processes that take bleed out; by default one for each available core.
    progress
        Called with the stage, the files done and in all.

    Returns
    -------
    ExportSummary
        What was written, and what was left out and why.

    Raises
    ------
    UsageError
        For an unknown layout or link, or bleed that is to be taken out without an audit or of stems that are split.
    DatasetError
        When the source dataset or a stem of it is missing, `out` holds something or lies in the source, nothing is left
        to export, or a link cannot be made.
    RestemError
        For a separator that cannot be used, or was trained on other classes.

    Examples
    --------
    >>> summary = restem.export("run", "my-stems-refined", link="copy")
    >>> summary.path.name, summary.layout
    ('my-stems-refined', 'table')
    """
    from restem.runs.export import export as export_run
    from restem.runs.training_sets import export_training_set, is_training_layout

    run = opened_run(run)
    if remove_bleed != (audit is not None):
        raise UsageError("`remove_bleed` and `audit` go together: bleed is taken out where an audit found it.")
    if split is not None and (remove_bleed or is_training_layout(layout)):
        what = "`remove_bleed`" if remove_bleed else f"the layout {layout!r}"
        raise UsageError(f"`split` does not go with {what}; split into `songs`, and go on with these.")
    with TemporaryDirectory(prefix="restem-") as folder:
        processed = None
        if audit is not None:
            from restem.auditing.audit import opened_audit
            from restem.auditing.removal import remove_bleed_of
            from restem.executing.processes import Processes

            processed = remove_bleed_of(opened_audit(audit, run), run, Path(folder), Processes.of(workers), progress)
        if is_training_layout(layout):
            return export_training_set(run, out, layout, licence=licence, processed=processed, progress=progress)
        splitter = None
        if split is not None:
            from restem.separation.splitting import make_split

            splitter = make_split(Path(split), run.taxonomy, device)
        return export_run(
            run, out, layout=layout, link=link, licence=licence, split=splitter, processed=processed,  # type: ignore[arg-type]
            progress=progress,
        )  # fmt: skip

"""The verbs that take more than one room of the house, and those that load much only when it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from restem.dataset.table import Dataset
from restem.errors import RestemError, UsageError
from restem.runs.run import REPORT_FILE, Run, open_run

if TYPE_CHECKING:
    from restem.evaluation.labels import LabelScore
    from restem.evaluation.separation import Evaluation
    from restem.labelling.network import Size
    from restem.labelling.training import Start
    from restem.progress import Progress
    from restem.runs.export import ExportLayout, ExportSummary
    from restem.runs.links import Link
    from restem.separation.separator import Separator


def refine(
    dataset: Dataset,
    out: Path | str,
    *,
    size: Size = "tiny",
    start: Start | None = None,
    rounds: int | None = None,
    folds: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    cache: Path | str | None = None,
    device: str = "auto",
    workers: int | None = None,
    licence: str = "",
    decisions: Run | Path | str | None = None,
    progress: Progress | None = None,
) -> Run:
    """Finds what is in every stem of `dataset` and leaves a run, with its report, in the folder `out`.

    size: of the classifier: `tiny`, `small` or `base`. start: `prior`, by default where there is one of this size, from
    the classifier that comes with restem, or `scratch`. rounds, folds, steps: see `RefineSettings` and
    `TrainingSettings`, which hold the defaults. cache: where features are kept. device: `auto`, `cpu`, `cuda`, `mps`.
    workers: processes, by default as many as there are cores. licence: of the audio, kept with the classifier.
    decisions: a run of the same dataset; what people decided about it is taken as certain.
    progress: called with (stage, done, total). Interrupted and called again with the same arguments, it goes on.
    Raises RunError when `out` holds something else, DatasetError when no stem can be used or
    `out` lies in the dataset, UsageError for a setting.
    """
    from restem.labelling.refining import refine_labels
    from restem.labelling.settings import RefineSettings

    settings = RefineSettings(size=size, start=start, rounds=rounds, steps=steps, seed=seed)
    if folds is not None:
        settings = replace(settings, folds=folds)
    decided = None if decisions is None else _opened(decisions).decided
    run = refine_labels(
        dataset, out, settings, cache=cache, device=device, workers=workers, licence=licence, decided=decided,
        progress=progress,
    )  # fmt: skip
    if not (run.path / REPORT_FILE).exists():
        report(run)
    return run


def score(
    run: Run | Path | str, truth: Path | str | None = None, *, decisions: Run | Path | str | None = None
) -> LabelScore:
    """How right the given and the refined labels of a run are, against a CSV `song,stem,given,true`.

    decisions: instead of a truth, a run whose decided stems are taken as the truth; only these are scored, with the
    labels as the classifiers left them. They were not drawn at random: doubtful ones come first in a review.
    Raises UsageError unless one of the two is given, RunError when nothing was decided.
    """
    from restem.evaluation.labels import score as score_run
    from restem.evaluation.labels import score_against_decisions

    if (truth is None) == (decisions is None):
        raise UsageError("Give either a truth or the run whose decisions are the truth.")
    if truth is not None:
        return score_run(_opened(run), Path(truth))
    return score_against_decisions(_opened(run), _opened(decisions))  # type: ignore[arg-type]


def report(run: Run | Path | str, path: Path | str | None = None, *, audio: bool = False) -> Path:
    """Writes the report of a run, one self-contained HTML file, and returns its path.

    audio: also put a few seconds of every pictured stem in it, those that speak most against its labels.
    """
    from restem.review.report import write_report

    return write_report(_opened(run), Path(path) if path is not None else None, audio=audio)


def serve_review(
    run: Run | Path | str,
    *,
    cache: Path | str | None = None,
    port: int = 0,
    person: str = "",
    follow_links: bool = False,
    browser: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serves a page on which a person listens to the doubtful stems of `run` and decides, until it is interrupted.

    cache: where features are kept. port: 0 for any that is free. person: who decides, by default the user.
    follow_links: also play files outside of the dataset that links in it lead to. browser: open the page. say: called
    with its address. Raises RestemError when the extra `review` is not installed, RunError when the dataset has gone.
    """
    try:
        from restem.review.server import serve
    except ModuleNotFoundError as error:
        raise RestemError(
            f"{error.name} is not installed; the review page needs `pip install 'restem[review]'`."
        ) from error

    cache = Path(cache) if cache is not None else None
    serve(_opened(run), cache=cache, port=port, person=person, follow_links=follow_links, browser=browser, say=say)


def _opened(run: Run | Path | str) -> Run:
    return run if isinstance(run, Run) else open_run(run)


def evaluate(
    dataset: Dataset,
    *,
    model: Separator | Path | str | None = None,
    estimates: Path | str | None = None,
    out: Path | str | None = None,
    overlap: float = 0.25,
    shifts: int = 0,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> Evaluation:
    """Measures a separator, or estimates that anybody made, on the songs of `dataset`; see `evaluation.separation`.

    model: a separator, or its folder; or estimates: a folder with `<song>/<class>.<ext>`. out: the folder for
    `songs.csv` and `summary.json`. overlap, shifts, seed: see `separate`; device: where songs are taken apart.
    Interrupted and called again with the same `out` and separator, it goes on after the songs that were measured.
    Raises UsageError unless one of model and estimates is given, RestemError for a separator that cannot be used or has
    other classes than the dataset.
    """
    from restem.evaluation.separation import evaluate as evaluate_estimates

    if (model is None) == (estimates is None):
        raise UsageError("Give either a separator or a folder of estimates to evaluate.")
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
            f"{','.join(dataset.taxonomy.classes)}; name the classes with --classes."
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
    layout: ExportLayout = "table",
    link: Link = "symlink",
    licence: str = "",
    split: Path | str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> ExportSummary:
    """Writes the dataset that `run` refined, with its refined labels, to the new folder `out`.

    layout: `table`, `songs` or `classes`; link: `symlink`, `hard` or `copy`. licence: of the audio, for the manifest,
    by default the run's. split: the folder of a separator that takes stems with several labels apart, into estimates
    that add up to the stem; device: where it runs. progress: called with the stage, the files done and in all.
    See `restem.runs.export` for what is written and what is raised; a separator raises RestemError when it cannot be
    used, or was trained on other classes.
    """
    from restem.runs.export import export as export_run

    run = run if isinstance(run, Run) else open_run(run)
    splitter = None
    if split is not None:
        from restem.separation.splitting import make_split

        splitter = make_split(Path(split), run.taxonomy, device)
    return export_run(run, out, layout=layout, link=link, licence=licence, split=splitter, progress=progress)

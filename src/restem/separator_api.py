"""The verbs that may use a separator: `evaluate` measures one, `export` may split stems with one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from restem.addresses import as_path
from restem.dataset.layouts import opened_dataset
from restem.dataset.table import Dataset
from restem.dataset.targets import REST, with_targets
from restem.dataset.usage import check_mixtures
from restem.errors import RestemError, UsageError
from restem.runs.run import Run, opened_run
from restem.taxonomy import Taxonomy

if TYPE_CHECKING:
    import numpy as np

    from restem.auditing.audit import Audit
    from restem.evaluation.separation import Evaluation
    from restem.progress import Progress
    from restem.runs.export import ExportLayout, ExportSummary
    from restem.runs.links import Link
    from restem.runs.training_sets import TrainingLayout
    from restem.separation.separator import Separator


def evaluate(
    dataset: Dataset | Path | str,
    *,
    model: Separator | Path | str | None = None,
    estimates: Path | str | None = None,
    target: Sequence[str] | str = (),
    out: Path | str | None = None,
    overlap: float = 0.25,
    shifts: int = 0,
    seed: int = 0,
    only: bool = False,
    device: str = "auto",
    ray: str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measures a separator, or anybody's estimates, on the songs of a dataset: SDR, BSSEval v4 SDR, SI-SDR.

    Interrupted and called again with the same `out` and separator, it goes on after the songs that were measured. A
    song that cannot be measured is reported, and the others go on.

    Parameters
    ----------
    dataset
        A dataset, or its path; of one at a path that has a split `test`, only that is used, and its classes are the
        separator's. The sum of a song's stems is what is taken apart.
    model
        A separator, its folder, or a pretrained model of the package `demucs`: its name, if its cache has it, or file.
    estimates
        Instead of a separator, a folder with `<song>/<class>.<ext>`, whatever made it.
    target
        The classes that are measured against the rest: against the sum of all other stems of a song, or a file such as
        `instrumental.wav`. By default those that the separator was trained for.
    out
        A folder for `songs.csv` and `summary.json`.
    overlap, shifts, seed
        See `separate`.
    only
        Leave stems of no class out of the mixtures; otherwise they are an error.
    device
        `auto`, `cpu`, `cuda` or `mps`.
    ray
        None for this process; else a Ray cluster: `local`, `auto` or HOST:PORT (docs/scale.md).
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
    from restem.executing.choosing import executor_for

    if (model is None) == (estimates is None):
        raise UsageError("Give either `model`, a separator, or `estimates`, a folder of them.")
    targets = (target,) if isinstance(target, str) else tuple(target)
    executor = executor_for(1 if ray is None else None, ray)
    if model is None:
        dataset = opened_dataset(dataset, "evaluate")
        check_mixtures(dataset, only)
        dataset = with_targets(dataset, targets) if targets else dataset
        return evaluate_estimates(dataset, as_path(str(estimates)), out, executor=executor, progress=progress)
    import torch

    from restem.devices import use_threads
    from restem.separation.checkpoints import opened_separator
    from restem.separation.separator import Separator
    from restem.separation.songs import separate_mixture
    from restem.separation.streaming import check_pieces

    check_pieces(overlap, shifts)
    separator = model if isinstance(model, Separator) else opened_separator(as_path(str(model)))
    targets = targets or separator.config.targets
    # What is to be told from the rest is told from stems of any class.
    dataset = opened_dataset(dataset, "evaluate", None if targets else separator.config.taxonomy)
    check_mixtures(dataset, only)
    if targets and REST not in dataset.taxonomy.classes:
        dataset = with_targets(dataset, targets)
    if set(separator.config.classes) == set(dataset.taxonomy.classes):
        dataset = replace(dataset, taxonomy=Taxonomy(separator.config.classes, dataset.taxonomy.aliases))
    else:
        raise RestemError(
            f"The separator was trained on {','.join(separator.config.classes)}, the dataset has "
            f"{','.join(dataset.taxonomy.classes)}; name its classes with `taxonomy`."
        )
    device = executor.choose_device(device)
    threads = torch.get_num_threads()

    def estimate(_: str, mixture: Iterator[np.ndarray], rate_hz: int, channels: int) -> Iterator[np.ndarray]:
        use_threads(device, threads)
        return separate_mixture(separator, mixture, rate_hz, channels, overlap, device, shifts, seed)

    return evaluate_estimates(
        dataset,
        estimate,
        out,
        executor=executor,
        cpus=threads if device == "cpu" else 1,
        gpus=0 if device == "cpu" else 1,
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
    ray: str | None = None,
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
    ray
        None for this process; else a Ray cluster: `local`, `auto` or HOST:PORT (docs/scale.md).
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
    from restem.executing.choosing import executor_for
    from restem.runs.export import export as export_run
    from restem.runs.training_sets import export_training_set, is_training_layout

    run = opened_run(run)
    if remove_bleed != (audit is not None):
        raise UsageError("`remove_bleed` and `audit` go together: bleed is taken out where an audit found it.")
    if split is not None and (remove_bleed or is_training_layout(layout)):
        what = "`remove_bleed`" if remove_bleed else f"the layout {layout!r}"
        raise UsageError(f"`split` does not go with {what}; split into `songs`, and go on with these.")
    executor = executor_for(1 if ray is None else None, ray)
    with TemporaryDirectory(prefix="restem-") as folder:
        processed = None
        if audit is not None:
            from restem.auditing.audit import opened_audit
            from restem.auditing.removal import remove_bleed_of
            from restem.executing.processes import Processes

            # Here, and not on a cluster, whose machines do not share this folder.
            here = Processes.of(workers)
            processed = remove_bleed_of(opened_audit(audit, run), run, Path(folder), here, progress)
            executor = here if ray is not None else executor
        if is_training_layout(layout):
            return export_training_set(
                run, out, layout, licence=licence, processed=processed, executor=executor, progress=progress
            )
        splitter, cpus, gpus = None, 1, 0
        if split is not None:
            import torch

            from restem.separation.splitting import make_split

            device = executor.choose_device(device)
            splitter = make_split(as_path(split), run.taxonomy, device)
            cpus, gpus = (torch.get_num_threads(), 0) if device == "cpu" else (1, 1)
        return export_run(
            run, out, layout=layout, link=link, licence=licence, split=splitter, processed=processed,  # type: ignore[arg-type]
            executor=executor, cpus=cpus, gpus=gpus, progress=progress,
        )  # fmt: skip

"""The commands that separate: `restem train`, `separate` and `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from restem.cli.defaults import defaults_of
from restem.cli.options import (
    DEFAULT_CLASSES,
    Cache,
    Classes,
    Device,
    DryRun,
    Figures,
    LayoutOption,
    Licence,
    MetadataOption,
    Moved,
    Only,
    Overlap,
    Ray,
    Seed,
    Shifts,
    Splits,
    TrainArguments,
    Workers,
    parse_names,
    parse_words,
    parsed_by,
)
from restem.cli.shared import (
    complain,
    open_data,
    open_stems_aloud,
    progress_bars,
    say,
    say_plan,
    shown_log,
    terminal,
    write_figures,
)
from restem.errors import RestemError, UsageError
from restem.wording import counted

if TYPE_CHECKING:
    from restem.evaluation.separation import Evaluation
    from restem.progress import Progress
    from restem.separation.separator import Separator
    from restem.separation.songs import SeparationSummary

_TRAIN = defaults_of("restem.separation.train", "train")
_SETTINGS = TrainArguments()
_SEPARATE = defaults_of("restem.separation.songs", "separate")
_EVALUATE = defaults_of("restem.separator_api", "evaluate")


def train(
    data: Annotated[Path, Parameter(help="A dataset, with its given labels, or a run, with its refined ones.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The folder of the separator; started again, a training goes on.")],
    settings: Annotated[TrainArguments, Parameter(name="*")] = _SETTINGS,
    parameters: Annotated[
        list[str] | None,
        Parameter(alias="--set", negative="", help="A parameter of the model, as width=96; may be repeated."),
    ] = None,
    layout: LayoutOption = None,
    metadata: MetadataOption = None,
    taxonomy: Classes = DEFAULT_CLASSES,
    only: Only = _TRAIN["only"],
    splits: Splits = None,
    moved: Moved = None,
    device: Device = "auto",
    devices: Annotated[int | None, Parameter(help="How many GPUs; by default all.")] = None,
    nodes: Annotated[int, Parameter(help="How many machines.")] = _TRAIN["nodes"],
    strategy: Annotated[str, Parameter(help="Lightning's, for several GPUs: ddp, fsdp, ...")] = _TRAIN["strategy"],
    workers: Workers = None,
    threads: Annotated[int, Parameter(help="Threads of torch on a CPU.")] = _TRAIN["threads"],
    cache: Cache = None,
    licence: Licence = _TRAIN["licence"],
    start: Annotated[
        str | None,
        Parameter(
            name="--from",
            help="Go on from these weights: a separator, a model of demucs by its name or file, or a file of weights.",
        ),
    ] = None,
    start_classes: Annotated[
        str | None,
        Parameter(name="--from-classes", help="The classes of a file of weights, in the order of its outputs."),
    ] = None,
    audit: Annotated[
        Path | None,
        Parameter(
            help="An audit of the dataset: songs that share a recording are validated on together, and stems that are "
            "not fit to learn from left out."
        ),
    ] = None,
    as_json: Figures = None,
    dry_run: DryRun = False,
) -> None:
    """Train a separator on stems with label sets. A stem of `bass+drums` teaches the sum of the two.

    Example: `restem train run --out separator --max-time 2h`
    """
    from restem.cli.terminal import print_left_out, print_notes
    from restem.separation.checkpoints import read_checkpoint
    from restem.separation.models import parse_parameters
    from restem.separation.train import failures_and_notes
    from restem.separation.train import train as train_separator
    from restem.separation.train_settings import TrainSettings
    from restem.separation.training_figures import figures_text, training_figures

    # First, since what is wrong with them can be said at once.
    origin = read_checkpoint(start, parse_names(start_classes) or ()) if start is not None else None
    model = origin.config.model if origin is not None and origin.config is not None else settings.model
    chosen = TrainSettings(**vars(settings), parameters=parse_parameters(model, parameters or []))
    opened = open_data(data, layout, taxonomy, metadata, splits, moved, chosen.target)
    if as_json is not None:
        opened.check_outside(as_json)

    def work(progress: Progress | None = None) -> Separator:
        return train_separator(
            opened, out, chosen, cache=cache, device=device,
            devices=_TRAIN["devices"] if devices is None else devices, nodes=nodes, strategy=strategy, workers=workers,
            threads=threads, licence=licence, only=only, start=origin, audit=audit, progress=progress,
        )  # fmt: skip

    if dry_run:
        from restem.planning.separating import plan_train

        say_plan(
            work,
            lambda: plan_train(
                opened, out, chosen, cache=cache, device=device, workers=workers, threads=threads, start=origin
            ),
        )
        return
    with progress_bars() as progress, shown_log("restem.separation.train"):
        work(progress)
    failed, notes = failures_and_notes(out)
    print_left_out(failed, terminal())
    print_notes(notes, terminal())
    figures = training_figures(out)
    write_figures(as_json, figures)
    say(f"The separator is in {out}; use it with `restem separate {out} song.wav --out separated`.")
    if text := figures_text(figures):  # trainings of earlier versions kept none
        say(f"{counted(figures['steps'], 'step')}: {text}.")
    if (kept := figures.get("kept")) and kept["steps"] < figures["steps"]:
        say(f"Kept are the weights after {counted(kept['steps'], 'step')}, the best ones: {figures_text(kept)}.")


def separate(
    model: Annotated[Path, Parameter(help="The folder of a separator, or a model of demucs: htdemucs, or its file.")],
    /,
    *songs: Annotated[Path, Parameter(help="Audio files, patterns such as songs/*.mp3, or folders of either.")],
    out: Annotated[Path, Parameter(help="A folder; every song gets one in it.")],
    stems: Annotated[str | None, Parameter(help="Comma-separated classes to write; by default all.")] = None,
    residual: Annotated[bool, Parameter(negative="", help="Also write what the stems leave of the song.")] = False,
    overlap: Overlap = _SEPARATE["overlap"],
    shifts: Shifts = _SEPARATE["shifts"],
    seed: Seed = _SEPARATE["seed"],
    format: Annotated[Literal["wav", "flac", "ogg", "mp3"], Parameter(help="What to write.")] = _SEPARATE["format"],
    depth: Annotated[
        Literal["16", "24", "float"], Parameter(help="Bits of WAV and FLAC; float is for WAV.")
    ] = _SEPARATE["depth"],
    device: Device = "auto",
    ray: Ray = None,
    dry_run: DryRun = False,
) -> None:
    """Take songs apart, at their own rate and length.

    Example: `restem separate separator song.mp3 --out separated --stems vocals --residual`
    """
    from restem.separation.song_files import audio_files
    from restem.separation.songs import separate as separate_songs

    if not songs:
        raise UsageError("Name at least one song.")
    files = audio_files(songs)

    def work(progress: Progress | None = None) -> SeparationSummary:
        return separate_songs(
            model, files, out, stems=parse_names(stems) or (), residual=residual,
            overlap=overlap, shifts=shifts, seed=seed, format=format, depth=depth, device=device, ray=ray,
            progress=progress,
        )  # fmt: skip

    if dry_run:
        from restem.planning.separating import plan_separate

        say_plan(work, lambda: plan_separate(model, files, out, overlap=overlap, shifts=shifts, device=device))
        return
    with progress_bars() as progress:
        summary = work(progress)
    for folder in summary.done:
        say(str(folder))
    for folder in summary.clipped:
        complain(f"{folder}: something was louder than full scale, and was cut; use --format wav --depth float.")
    for song, note in summary.notes.items():
        complain(f"{song}: {note}.")
    if summary.failed:
        reasons = "\n".join(summary.failed.values())
        raise RestemError(f"{reasons}\n{len(summary.failed)} of {len(files)} songs could not be separated.")


def evaluate(
    *paths: Annotated[Path, Parameter(help="MODEL DATASET, or DATASET alone with --estimates.")],
    estimates: Annotated[Path | None, Parameter(help="A folder with SONG/CLASS.EXT, whatever made it.")] = None,
    target: Annotated[
        tuple[str, ...],
        Parameter(
            converter=parsed_by(parse_words),
            negative="",
            show_default=False,
            help="Measure this class against the rest; may be repeated. By default what the separator was trained for.",
        ),
    ] = (),
    out: Annotated[Path | None, Parameter(help="A folder for songs.csv and summary.json.")] = None,
    against: Annotated[Path | None, Parameter(help="Another result, to compare with song by song.")] = None,
    overlap: Overlap = _EVALUATE["overlap"],
    shifts: Shifts = _EVALUATE["shifts"],
    seed: Seed = _EVALUATE["seed"],
    layout: LayoutOption = None,
    metadata: MetadataOption = None,
    taxonomy: Annotated[
        str | None,
        Parameter(
            name="--classes",
            help="Comma-separated classes, or a YAML file of them; by default the separator's, and of --estimates "
            f"{DEFAULT_CLASSES}.",
        ),
    ] = None,
    only: Only = _EVALUATE["only"],
    splits: Splits = None,
    device: Device = "auto",
    ray: Ray = None,
    as_json: Figures = None,
    dry_run: DryRun = False,
) -> None:
    """Measure a separator, or anybody's estimates, on the songs of a dataset: SDR, BSSEval v4 SDR, SI-SDR.

    Example: `restem evaluate separator test-songs --out result --against other-result`
    """
    from restem.cli.comparisons import print_evaluation
    from restem.evaluation.separation import read_evaluation
    from restem.separation.checkpoints import opened_separator
    from restem.separator_api import evaluate as evaluate_songs

    if len(paths) != (1 if estimates else 2):
        raise UsageError("Give MODEL DATASET, or --estimates DIR DATASET.")
    other = read_evaluation(against) if against else None
    separator = None if estimates else opened_separator(paths[0])
    targets = target or (separator.config.targets if separator else ())
    # What is to be told from the rest is told from stems of any class.
    classes = taxonomy or (separator.config.taxonomy if separator and not targets else DEFAULT_CLASSES)
    opened = open_stems_aloud(paths[-1], layout, classes, metadata, splits, "evaluate", targets)
    if as_json is not None:
        opened.check_outside(as_json)

    def work(progress: Progress | None = None) -> Evaluation:
        return evaluate_songs(
            opened, model=separator, estimates=estimates, target=target, out=out,
            overlap=overlap, shifts=shifts, seed=seed, only=only, device=device, ray=ray, progress=progress,
        )  # fmt: skip

    if dry_run:
        from restem.planning.separating import plan_evaluate

        say_plan(
            work, lambda: plan_evaluate(opened, out, model=separator, overlap=overlap, shifts=shifts, device=device)
        )
        return
    with progress_bars() as progress:
        evaluation = work(progress)
    write_figures(as_json, {"classes": evaluation.summary(), "failed": dict(evaluation.failed)})
    print_evaluation(evaluation, terminal(), other)
    if evaluation.failed:
        raise RestemError(f"{len(evaluation.failed)} of {len(opened.songs)} songs could not be measured.")

"""The commands that separate: `restem train`, `separate` and `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from restem.cli.shared import (
    DEFAULT_CLASSES,
    Cache,
    Classes,
    Device,
    LayoutOption,
    Workers,
    complain,
    open_data,
    open_stems,
    progress_bars,
    say,
    terminal,
)
from restem.errors import RestemError, UsageError


def train(
    data: Annotated[Path, Parameter(help="A dataset, with its given labels, or a run, with its refined ones.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The folder of the separator; started again, a training goes on.")],
    model: Annotated[str, Parameter(help="band, hdemucs, htdemucs, bs_roformer or mel_band_roformer.")] = "band",
    set: Annotated[list[str] | None, Parameter(help="key=value, a size of the model; may be repeated.")] = None,
    layout: LayoutOption = None,
    classes: Classes = DEFAULT_CLASSES,
    steps: Annotated[int, Parameter(help="Of the optimiser.")] = 10_000,
    max_time: Annotated[str | None, Parameter(help="Such as 90s, 30m or 1h30m; the schedule fits it.")] = None,
    batch: Annotated[int, Parameter(help="Examples at once.")] = 8,
    accumulate: Annotated[int, Parameter(help="Batches a step.")] = 1,
    segment: Annotated[float | None, Parameter(help="Seconds of an example; by default the model's.")] = None,
    learning_rate: float = 2e-3,
    loss: Annotated[Literal["l1", "stft", "l1+stft"], Parameter(help="Of waveforms, of spectrograms, or both.")] = "l1",
    truncate: Annotated[
        str | None,
        Parameter(help="Ignore each batch's largest losses, those above this quantile: 0.7, or 0.7,0.5,0.3 in thirds."),
    ] = None,
    coherent: Annotated[float, Parameter(help="The share of examples that come from one song at one time.")] = 0.0,
    validation: Annotated[float, Parameter(help="The share of the songs kept aside to watch the training on.")] = 0.1,
    unsure: Annotated[bool, Parameter(negative="", help="Learn from the unsure stems of a run as well.")] = False,
    rate: Annotated[int, Parameter(help="The separator's sampling rate in Hz.")] = 44100,
    seed: int = 0,
    device: Device = "auto",
    devices: Annotated[int | None, Parameter(help="How many GPUs; by default all.")] = None,
    nodes: Annotated[int, Parameter(help="How many machines.")] = 1,
    strategy: Annotated[str, Parameter(help="Lightning's, for several GPUs: ddp, fsdp, ...")] = "auto",
    workers: Workers = None,
    threads: Annotated[int, Parameter(help="Of one process on a CPU.")] = 1,
    cache: Cache = None,
    licence: Annotated[str, Parameter(help="The licence of the audio, kept with the separator.")] = "",
) -> None:
    """Train a separator on stems with label sets. A stem of `bass+drums` teaches the sum of the two.

    Example: `restem train run --out separator --max-time 2h`
    """
    from restem.separation.models import parse_parameters
    from restem.separation.remixing import RemixSettings
    from restem.separation.train import TrainSettings, parse_quantiles, parse_seconds
    from restem.separation.train import train as train_separator

    settings = TrainSettings(
        model=model,
        parameters=parse_parameters(model, set or []),
        segment_s=segment,
        rate_hz=rate,
        steps=steps,
        batch=batch,
        accumulate=accumulate,
        max_seconds=parse_seconds(max_time) if max_time else None,
        learning_rate=learning_rate,
        loss=loss,
        truncate=parse_quantiles(truncate) if truncate else (),
        mixing=RemixSettings(coherent=coherent),
        validation=validation,
        unsure=unsure,
        seed=seed,
    )
    with progress_bars() as progress:
        train_separator(
            open_data(data, layout, classes), out, settings, cache=cache, device=device,
            devices="auto" if devices is None else devices, nodes=nodes, strategy=strategy, workers=workers,
            threads=threads, licence=licence, progress=progress,
        )  # fmt: skip
    say(f"The separator is in {out}; use it with `restem separate {out} song.wav --out separated`.")


def separate(
    model: Annotated[Path, Parameter(help="The folder of a separator.")],
    /,
    *songs: Annotated[Path, Parameter(help="Audio files.")],
    out: Annotated[Path, Parameter(help="A folder; every song gets one in it.")],
    stems: Annotated[str | None, Parameter(help="Comma-separated classes to write; by default all.")] = None,
    residual: Annotated[bool, Parameter(negative="", help="Also write what the stems leave of the song.")] = False,
    overlap: Annotated[float, Parameter(help="Of the pieces in which a song is taken apart.")] = 0.25,
    shifts: Annotated[
        int, Parameter(help="Average over so many random shifts: better, and as many times as slow.")
    ] = 0,
    seed: Annotated[int, Parameter(help="Of the shifts.")] = 0,
    format: Annotated[Literal["wav", "flac", "ogg", "mp3"], Parameter(help="What to write.")] = "wav",
    depth: Annotated[Literal["16", "24", "float"], Parameter(help="Bits of WAV and FLAC.")] = "16",
    device: Device = "auto",
) -> None:
    """Take songs apart, at their own rate and length.

    Example: `restem separate separator song.mp3 --out separated --stems vocals --residual`
    """
    from restem.separation.songs import separate as separate_songs

    if not songs:
        raise UsageError("Name at least one song.")
    with progress_bars() as progress:
        summary = separate_songs(
            model, songs, out, stems=[name.strip() for name in stems.split(",")] if stems else (), residual=residual,
            overlap=overlap, shifts=shifts, seed=seed, format=format, depth=depth, device=device, progress=progress,
        )  # fmt: skip
    for folder in summary.done:
        say(str(folder))
    for folder in summary.clipped:
        complain(f"{folder}: something was louder than full scale, and was cut; use --format wav --depth float.")
    for reason in summary.failed.values():
        complain(reason)
    if summary.failed:
        raise RestemError(f"{len(summary.failed)} of {len(songs)} songs could not be separated.")


def evaluate(
    *paths: Annotated[Path, Parameter(help="MODEL DATASET, or DATASET alone with --estimates.")],
    estimates: Annotated[Path | None, Parameter(help="A folder with SONG/CLASS.EXT, whatever made it.")] = None,
    out: Annotated[Path | None, Parameter(help="A folder for songs.csv and summary.json.")] = None,
    against: Annotated[Path | None, Parameter(help="Another result, to compare with song by song.")] = None,
    overlap: Annotated[float, Parameter(help="Of the pieces in which a song is taken apart.")] = 0.25,
    shifts: Annotated[
        int, Parameter(help="Average over so many random shifts: better, and as many times as slow.")
    ] = 0,
    seed: Annotated[int, Parameter(help="Of the shifts.")] = 0,
    layout: LayoutOption = None,
    classes: Classes = DEFAULT_CLASSES,
    device: Device = "auto",
) -> None:
    """Measure a separator, or anybody's estimates, on the songs of a dataset: SDR, BSSEval v4 SDR, SI-SDR.

    Example: `restem evaluate separator test-songs --out result --against other-result`
    """
    from restem.api import evaluate as evaluate_songs
    from restem.cli.terminal import print_evaluation
    from restem.evaluation.separation import read_evaluation

    if len(paths) != (1 if estimates else 2):
        raise UsageError("Give MODEL DATASET, or --estimates DIR DATASET.")
    other = read_evaluation(against) if against else None
    opened = open_stems(paths[-1], layout, classes)
    with progress_bars() as progress:
        evaluation = evaluate_songs(
            opened, model=None if estimates else paths[0], estimates=estimates, out=out,
            overlap=overlap, shifts=shifts, seed=seed, device=device, progress=progress,
        )  # fmt: skip
    print_evaluation(evaluation, terminal(), other)
    if evaluation.failed:
        raise RestemError(f"{len(evaluation.failed)} of {len(opened.songs)} songs could not be measured.")

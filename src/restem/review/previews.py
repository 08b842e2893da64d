"""A few seconds of a stem inside the report, so that it can be heard wherever the file goes."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
import soundfile

from restem.audio.reader import open_audio
from restem.audio.resample import resample_blocks
from restem.dataset.table import split_stem_name
from restem.errors import AudioError, RunError
from restem.review.stretch import stretch
from restem.runs.run import Run
from restem.verdicts import WITHOUT_SOUND

RATE_HZ = 24000  # enough to tell instruments apart, and a rate that MP3 has


@dataclass(frozen=True)
class Preview:
    """What speaks most against the given labels of a stem, from `start_s` to `end_s`.

    mp3: one channel in base64, some 16 kB; empty where the file has gone bad since, and `problem` says how.
    """

    start_s: float
    end_s: float
    mp3: str = ""
    problem: str = ""


def previews(run: Run, stems: pl.DataFrame) -> dict[str, Preview]:
    """The previews for rows of `labels.csv`, by stem.

    Stems without segments have none, nor have files that lie outside of the dataset. Raises RunError when the dataset
    has gone.
    """
    root = run.dataset_root
    if not root.is_dir():
        raise RunError(f"{root}: the dataset of {run.place} is not there; bring it back, or leave out `audio`.")
    segments = run.segments_file.of_stems(stems["stem"].to_list())
    found = {}
    for row in stems.filter(~pl.col("verdict").is_in(WITHOUT_SOUND)).iter_rows(named=True):
        part = segments.get(row["stem"])
        path, stream = split_stem_name(row["stem"])
        if part is None or not (root / path).resolve().is_relative_to(root.resolve()):
            continue
        scores = {name: float(row[name]) for name in run.taxonomy.classes}
        start_s, end_s = stretch(part, run.taxonomy, run.taxonomy.parse(row["given"]), scores)
        try:
            with open_audio(root / path, stream or 0) as audio:
                mono = (block.mean(axis=0, keepdims=True) for block in audio.blocks(start_s, end_s))
                mp3 = _mp3(resample_blocks(mono, audio.info.rate_hz, RATE_HZ, 1))
        except AudioError as error:
            found[row["stem"]] = Preview(start_s, end_s, problem=str(error))
            continue
        found[row["stem"]] = Preview(start_s, end_s, mp3)
    return found


def _mp3(blocks: Iterable[np.ndarray]) -> str:
    """`(1, sample)` blocks as an MP3 file, in base64."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE_HZ, 1, format="MP3", subtype="MPEG_LAYER_III") as writer:
        for block in blocks:
            writer.write(block[0].clip(-1.0, 1.0))  # LAME ends the process over samples far above full scale
    return base64.b64encode(file.getvalue()).decode()

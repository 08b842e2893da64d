"""A few seconds of a stem inside the report, so that it can be heard wherever the file goes."""

from __future__ import annotations

import base64
import io

import polars as pl
import soundfile

from restem.audio.reader import open_audio
from restem.audio.resample import resample_blocks
from restem.dataset.table import split_stem_name
from restem.errors import AudioError, RunError
from restem.review.markup import clock, text
from restem.review.queue import stretch
from restem.runs.run import Run

RATE_HZ = 24000  # enough to tell instruments apart, and a rate that MP3 has


def previews(run: Run, stems: pl.DataFrame) -> dict[str, str]:
    """For rows of `labels.csv`, by stem, the HTML of a player with what speaks most against the given labels.

    One channel as MP3, some 16 kB. Stems without segments, and files that have gone bad since, have none. Raises
    RunError when the dataset has gone.
    """
    root = run.dataset_root
    if not root.is_dir():
        raise RunError(f"{root}: the dataset of {run.path} is not there; bring it back, or leave out `audio`.")
    segments = run.found_segments.filter(pl.col("stem").is_in(stems["stem"].implode())).partition_by(
        "stem", as_dict=True
    )
    found = {}
    for row in stems.filter(~pl.col("verdict").is_in(["failed", "silent"])).iter_rows(named=True):
        part = segments.get((row["stem"],))
        path, stream = split_stem_name(row["stem"])
        if part is None or not (root / path).resolve().is_relative_to(root.resolve()):
            continue
        scores = {name: float(row[name]) for name in run.taxonomy.classes}
        start_s, end_s = stretch(part.sort("start_s"), run.taxonomy, run.taxonomy.parse(row["given"]), scores)
        try:
            with open_audio(root / path, stream or 0) as audio:
                mono = (block.mean(axis=0, keepdims=True) for block in audio.blocks(start_s, end_s))
                sound = list(resample_blocks(mono, audio.info.rate_hz, RATE_HZ, 1))
        except AudioError as error:
            found[row["stem"]] = f'<p class="remark">{text(error)}</p>'
            continue
        file = io.BytesIO()
        with soundfile.SoundFile(file, "w", RATE_HZ, 1, format="MP3", subtype="MPEG_LAYER_III") as writer:
            for block in sound:
                writer.write(block[0])
        data = base64.b64encode(file.getvalue()).decode()
        found[row["stem"]] = (
            f'<p class="preview"><span>{clock(start_s)} to {clock(end_s)}</span>'
            f'<audio controls preload="none" src="data:audio/mpeg;base64,{data}"></audio></p>'
        )
    return found

"""The heads of an encoder, fitted to generated songs: their stems, and mixtures of these.

Heads that have heard single instruments only miss one that is under another; so a third of what they are taught is
mixtures of two to four stems of a song.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import soundfile

from restem.audio.level import db_to_power
from restem.audio.writer import write_audio
from restem.errors import RestemError
from restem.executing.interface import Executor
from restem.files import folder_written_aside
from restem.labelling.encoders.interface import EncoderCard
from restem.labelling.encoders.registry import chosen_encoder, encoders_folder
from restem.labelling.encoders.store import EmbeddingStore
from restem.labelling.heads import Heads, fit_heads, head_inputs, save_heads
from restem.labelling.pretrained_heads import HEADS_FILE, EncoderWithHeads, find_heads
from restem.pretraining.songs import CLASSES, SEED, labels_of, render_stems
from restem.progress import Progress, stage

SHIPPED_SONGS = 240
"""Songs for the heads that come with restem. With half as many they are hardly worse."""

_SONGS = 120
_MIXTURES = 3  # of a song
_MIXED = ((2, 3, 4), (0.6, 0.3, 0.1))  # how many stems, and how often
_LEVEL_DB = 9.0  # the most that a stem is made louder or quieter
_PEAK = 0.8


def encoder_with_heads(name: str, executor: Executor, progress: Progress | None = None) -> EncoderWithHeads | None:
    """The encoder that `--encoder NAME` asks for, with heads; None for `none`, and for `auto` without any.

    Raises UsageError when it is not installed, RestemError when its heads can neither be found nor made.
    """
    card = chosen_encoder(name)
    if card is None:
        return None
    folder = encoders_folder()
    return EncoderWithHeads(card, heads_for(card, folder, executor, progress), folder)


def heads_for(card: EncoderCard, folder: Path, executor: Executor, progress: Progress | None = None) -> Heads:
    """The pretrained heads of an installed encoder; where there are none they are made and kept, which takes minutes.

    folder: where encoders are installed. Raises RestemError when they cannot be kept.
    """
    if (found := find_heads(card, folder)) is not None:
        return found
    with tempfile.TemporaryDirectory(prefix="restem-heads-") as aside:
        heads = make_heads(card, folder, Path(aside), _SONGS, executor, progress)
    path = folder / card.name / HEADS_FILE
    try:
        save_heads(path, heads)
    except OSError as error:
        raise RestemError(f"{path}: cannot be written ({error.strerror}).") from error
    return find_heads(card, folder) or heads


def make_heads(
    card: EncoderCard, folder: Path, out: Path, songs: int, executor: Executor, progress: Progress | None = None
) -> Heads:
    """Renders songs to `out`, embeds them with an encoder installed in `folder`, and fits heads."""
    table = pl.read_csv(render_stems(out, songs, executor, stage(progress, f"songs for the heads of {card.name}")))
    stems = [(out / path, str(labels).split("+")) for path, labels in table.select("path", "labels").iter_rows()]
    mixtures = [one for part in executor.map_unordered(partial(_mix, out), range(songs)) for one in part[1]]
    taught = [*stems, *sorted(mixtures)]
    store = EmbeddingStore(out / "embeddings", card, encoders=folder)
    sources = [(path, 0) for path, _ in taught]
    failures = store.fill(sources, executor, stage(progress, f"heads of {card.name}"))
    if failures:
        raise RestemError(f"The encoder {card.name} cannot hear generated songs: {next(iter(failures.values()))}")
    inputs = [head_inputs(store.require(source).embeddings[:]) for source in sources]
    flags = [[float(name in labels) for name in CLASSES] for _, labels in taught]
    targets = np.repeat(np.array(flags), [len(one) for one in inputs], axis=0)
    return fit_heads(CLASSES, np.concatenate(inputs), targets, card.sha256)


@dataclass(frozen=True)
class _Mixture:
    """A mixture to be made: its stems, and what each is multiplied by."""

    paths: tuple[Path, ...]
    gains: tuple[float, ...]


def _plan(folder: Path, number: int) -> list[_Mixture]:
    """The mixtures of a song, from the stems of its instrument families."""
    singles = sorted(path for path in folder.iterdir() if "+" not in path.stem)
    rng = np.random.default_rng([SEED, number, 0x4EAD])
    found = []
    for _ in range(_MIXTURES):
        size = min(len(singles), int(rng.choice(_MIXED[0], p=_MIXED[1])))
        chosen = rng.choice(len(singles), size, replace=False)
        gains = np.sqrt(db_to_power(rng.uniform(-_LEVEL_DB, _LEVEL_DB, size)))
        found.append(_Mixture(tuple(singles[one] for one in chosen), tuple(gains.tolist())))
    return found


def _mix(out: Path, number: int) -> list[tuple[Path, list[str]]]:
    """Writes the mixtures of a song; returns their paths and labels."""
    name = f"song{number:04d}"
    planned = _plan(out / "songs" / name, number)
    folder = out / "mixtures" / name
    if not folder.is_dir():
        with folder_written_aside(folder) as aside:
            for index, mixture in enumerate(planned):
                sounds = [soundfile.read(path, dtype="float32", always_2d=True) for path in mixture.paths]
                rate_hz = sounds[0][1]
                total = sum(gain * sound.T for gain, (sound, _) in zip(mixture.gains, sounds, strict=True))
                peak = max(float(np.abs(total).max()), 1e-9)
                write_audio(aside / f"{index}.flac", np.asarray(total * (_PEAK / peak)), rate_hz, "PCM_16")
    return [
        (folder / f"{index}.flac", labels_of(path.stem for path in mixture.paths))
        for index, mixture in enumerate(planned)
    ]

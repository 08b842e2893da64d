"""The embeddings of stems, computed once by an encoder and kept in the cache like features.

After its header (see `restem.audio.entries`) an entry holds, for every embedded segment, its start (float64), its level
(float32), and the embeddings of its windows. Its key is made of the stem's file, the sha256 of the encoder's weights,
and the grid of segments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from restem.audio.entries import HEADER_BYTES, EntryStore, Source
from restem.audio.reader import open_audio
from restem.audio.resample import resample_blocks
from restem.audio.stored import Rows, StoredArray
from restem.errors import RestemError
from restem.labelling.encoders.interface import Encoder, EncoderCard
from restem.labelling.encoders.registry import encoders_folder, load_encoder
from restem.labelling.encoders.stretches import EmbeddingSettings, choose, cut, windows_per_segment

_FORMAT = "restem embeddings 2"
_HALF_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True, eq=False)
class StemEmbeddings:
    """What an encoder heard in one stem; of a silent one, nothing.

    start_s: (segment,) where each segment starts, in order. level_db: (segment,) its mean level. embeddings: (segment,
    window, embedding) float16 or float32, read when asked for. seconds: length of the stem.
    """

    start_s: np.ndarray
    level_db: np.ndarray
    embeddings: Rows
    seconds: float

    def __len__(self) -> int:
        return len(self.start_s)


class EmbeddingStore(EntryStore[StemEmbeddings]):
    """The embeddings of stems by one encoder, in one folder, for one grid of segments.

    card: of an installed encoder. encoders: the folder where it is installed. device: where it runs. Every process
    loads the encoder once, when it computes its first entry; embeddings that are there need no encoder.
    """

    suffix = ".embeddings"
    contents = "embeddings"

    def __init__(
        self,
        folder: Path,
        card: EncoderCard,
        settings: EmbeddingSettings | None = None,
        *,
        encoders: Path | None = None,
        device: str = "cpu",
    ) -> None:
        self.card = card
        self.settings = settings or EmbeddingSettings()
        self.encoders = encoders or encoders_folder()
        self.device = device
        self.gpus = 0 if device == "cpu" else 1
        super().__init__(folder, _FORMAT, dict(card.identity), asdict(self.settings))

    @property
    def windows(self) -> int:
        """How many windows the encoder hears of each segment."""
        return windows_per_segment(self.settings, self.card.rate_hz, self.card.window_samples)

    def _read(self, _: Source, entry: Path, header: Mapping[str, Any]) -> StemEmbeddings:
        count, size = int(header["segments"]), self.card.embedding_size
        shape = (count, self.windows, size)
        with entry.open("rb") as file:
            file.seek(HEADER_BYTES)
            start_s, level_db = np.fromfile(file, np.float64, count), np.fromfile(file, np.float32, count)
        if len(level_db) != count:
            raise ValueError("it is truncated")
        offset = HEADER_BYTES + start_s.nbytes + level_db.nbytes
        embeddings = StoredArray(entry, self.settings.precision, offset, shape).checked()
        return StemEmbeddings(start_s, level_db, embeddings, float(header["seconds"]))

    def _write(self, source: Source, file: BinaryIO) -> Mapping[str, Any]:
        rate_hz = self.card.rate_hz
        with open_audio(*source) as audio:
            mono = (block.mean(axis=0, keepdims=True) for block in audio.blocks())
            parts = list(resample_blocks(mono, audio.info.rate_hz, rate_hz, 1))
            seconds = audio.seconds_read
        samples = np.concatenate(parts, axis=1)[0] if parts else np.zeros(0, np.float32)
        stretches = choose(samples, rate_hz, self.settings)
        file.write((stretches.start / rate_hz).astype(np.float64).tobytes())
        file.write(stretches.level_db.astype(np.float32).tobytes())
        if len(stretches.start):
            windows = cut(samples, stretches, self.windows, self.card.window_samples)
            file.write(self._embed(windows).tobytes())
        return {"format": _FORMAT, "encoder": self.card.name, "segments": len(stretches.start), "seconds": seconds}

    def _embed(self, windows: np.ndarray) -> np.ndarray:
        """(segment, window, sample) -> (segment, window, embedding), in the precision that is kept."""
        encoder = _loaded(self.card.name, self.encoders, self.card.sha256, self.device)
        with _one_thread():
            embeddings = encoder.embed(windows.reshape(-1, windows.shape[-1]))
        embeddings = embeddings.reshape(*windows.shape[:2], -1)
        if self.settings.precision == "float16":
            embeddings = embeddings.clip(-_HALF_MAX, _HALF_MAX)
        return embeddings.astype(self.settings.precision)


@lru_cache(maxsize=2)
def _loaded(name: str, encoders: Path, sha256: str, device: str) -> Encoder:
    encoder = load_encoder(name, encoders, device)
    if encoder.card.sha256 != sha256:
        raise RestemError(f"The encoder {name} was replaced while it was used; run the command again.")
    return encoder


@contextmanager
def _one_thread() -> Iterator[None]:
    """Embeds on one thread: the processes are as many as there are cores, and the numbers do not depend on them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

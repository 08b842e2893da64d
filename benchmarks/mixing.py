"""What mixing costs: against the training step it feeds, and against mixing decoded audio.

    python benchmarks/mixing.py

The training step is that of `restem refine`: the classifier of size `tiny`, its loss, precision and optimiser, a batch
of 64 mixtures, on one thread of the CPU. Mixing decoded audio draws segments in the same way, seeks to each in its
FLAC file, decodes it, applies a gain, adds the waveforms up and takes the mel power of the sum. (It is let off the
equaliser and the band limit, which the mel mixer applies.)
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import soundfile
import torch
from torch.nn import functional

from common import parse, publish, ratio, rounded, song_folders, time_in_turn
from restem.audio.mel import mel_power
from restem.audio.store import Store
from restem.devices import precision
from restem.labelling.mixing import Mixer, MixingSettings, SegmentPool
from restem.labelling.network import SIZES, ClassifierNetwork
from restem.labelling.segments import lay_segments
from restem.labelling.training import TrainingSettings

CLASSES = ("vocals", "drums", "bass", "other")
RATE_HZ = 44100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=12, help="songs of four stems, about 20 s each")
    parser.add_argument("--repeats", type=int, default=9)
    options = parse(parser, songs=2, repeats=1)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        files, labels = write_flac(Path(folder), song_folders(options.songs, Path(folder), quick=options.quick))
        compare(files, labels, Store(Path(folder) / "store"), options.repeats, options.quick)


def write_flac(folder: Path, songs: list[Path]) -> tuple[list[Path], np.ndarray]:
    """16-bit FLAC stems, and (stem, class) flags of what they hold."""
    files, labels = [], []
    for number, song in enumerate(songs):
        for index, name in enumerate(CLASSES):
            samples, rate_hz = soundfile.read(next(song.glob(f"{name}.*")), dtype="float32", always_2d=True)
            assert rate_hz == RATE_HZ
            path = folder / f"{number:03d}-{name}.flac"
            soundfile.write(path, np.broadcast_to(samples, (len(samples), 2)), rate_hz, subtype="PCM_16")
            files.append(path)
            labels.append(np.arange(len(CLASSES)) == index)
    return files, np.array(labels)


def compare(files: list[Path], labels: np.ndarray, store: Store, repeats: int, quick: bool) -> None:
    sources = tuple((path, 0) for path in files)
    failures = store.fill(list(sources))
    assert not failures
    settings, training = MixingSettings(), TrainingSettings()
    length = round(settings.segment_s / store.settings.hop_s)
    features = [store.require(source) for source in sources]
    segments = lay_segments(features, length, hop=round(1.0 / store.settings.hop_s))
    active = segments.active
    pool = SegmentPool(
        store.stored(sources),
        segments.gains,
        segments.stem[active],
        segments.start[active],
        labels[segments.stem[active]].astype(np.float32),
    )
    mixer = Mixer(pool, pool.stems, settings, store.settings, seed=0)
    step = TrainingStep(training, mixer)
    decoded = DecodedMixer(pool, files, settings, store)

    number = iter(range(1 << 30))
    sides: dict[str, Callable[[], object]] = {
        "mel": lambda: mixer.batch(0, next(number) * training.batch, training.batch),
        "step": step,
        "decoded": lambda: decoded.batch(next(number), training.batch),
    }
    time_in_turn(sides, 1)
    times = time_in_turn(sides, repeats).wall
    share = 1.0 / ratio(times, "step", "mel")
    faster = ratio(times, "decoded", "mel")
    milliseconds = {name: 1000 * median(values) for name, values in times.items()}
    publish(
        "mixing",
        [
            (f"mixing {training.batch} examples in mel power", f"{milliseconds['mel']:.1f} ms", ""),
            (f"training step on them ({step.precision}, 1 thread)", f"{milliseconds['step']:.0f} ms", ""),
            (f"mixing {training.batch} examples from decoded FLAC", f"{milliseconds['decoded']:.0f} ms", ""),
            ("mixing / training step", f"{share:.1%}", "< 10 %"),
            ("mixing decoded audio / mixing mel power", f"{faster:.0f} x", ">= 30 x"),
        ],
        {
            "batch": training.batch,
            "precision": step.precision,
            "seconds": {name: rounded(values, 5) for name, values in times.items()},
            "mixing_of_step": round(share, 4),
            "decoded_of_mel": round(faster, 1),
        },
        quick=quick,
    )


class TrainingStep:
    """One optimiser step of the classifier `tiny` on a batch that is there already, as `restem.labelling.training`."""

    def __init__(self, training: TrainingSettings, mixer: Mixer) -> None:
        self.precision = precision("cpu")
        classifier = ClassifierNetwork(len(CLASSES), mixer.bands, SIZES["tiny"])
        self.classifier: ClassifierNetwork = classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            classifier.parameters(), training.rate_for("pretrained"), weight_decay=training.weight_decay
        )
        power, targets = mixer.batch(0, 0, training.batch)
        self.power, self.targets = torch.from_numpy(power), torch.from_numpy(targets)

    def __call__(self) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16-mixed"):
            logits = self.classifier(self.power)
        loss = functional.binary_cross_entropy_with_logits(logits.float(), self.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.classifier.parameters(), 5.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


class DecodedMixer:
    """Mixtures as they are usually made: from the waveforms, decoded when they are needed."""

    def __init__(self, pool: SegmentPool, files: list[Path], settings: MixingSettings, store: Store) -> None:
        self.pool = pool
        self.files = [soundfile.SoundFile(path) for path in files]
        self.settings = settings
        self.mel = store.settings
        # The last frame of a segment reaches beyond where the next one would start.
        self.samples = round((settings.segment_s - self.mel.hop_s + self.mel.frame_s) * RATE_HZ)
        self.by_class = [np.flatnonzero(targets >= 0.5) for targets in pool.targets.T]

    def batch(self, number: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(number)
        power, targets = zip(*(self.example(rng) for _ in range(count)), strict=True)
        return np.stack(power), np.stack(targets)

    def example(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        counts = self.settings.counts
        classes = rng.permutation(len(self.by_class))[: rng.choice(len(counts), p=counts) + 1]
        mixture = np.zeros((2, self.samples), np.float32)
        for index in classes:
            segment = rng.choice(self.by_class[index])
            stem = self.pool.stem[segment]
            file = self.files[stem]
            file.seek(round(self.pool.start[segment] * self.mel.hop_s * RATE_HZ))
            samples = file.read(self.samples, dtype="float32").T
            level_db = -self.settings.level_range_db * rng.random()
            mixture[:, : samples.shape[1]] += samples * np.float32(
                np.sqrt(self.pool.gains[stem]) * 10 ** (level_db / 20)
            )
        rows = round(self.settings.segment_s / self.mel.hop_s)
        power = np.concatenate(list(mel_power([mixture], RATE_HZ, self.mel)))[:rows]
        return power, np.isin(np.arange(len(self.by_class)), classes).astype(np.float32)


if __name__ == "__main__":
    main()

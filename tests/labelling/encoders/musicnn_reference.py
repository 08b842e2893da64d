"""What the original musicnn gives for synthetic sounds: the reference of the tests of restem's own port.

Runs the graphs that lie in the wheel, as they were trained, in TensorFlow, which restem itself never needs:

    python3 -m venv reference && reference/bin/pip install tensorflow-cpu librosa
    reference/bin/pip download --no-deps musicnn==0.1.0
    reference/bin/python tests/labelling/encoders/musicnn_reference.py musicnn-0.1.0-py3-none-any.whl

It writes `tests/labelling/encoders/musicnn_reference.npz` and prints how much the rounding to 16 bits matters that the
original does to its mel power, and restem does not.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

RATE_HZ = 16000
FRAMES = 187
OUT = Path(__file__).with_name("musicnn_reference.npz")
EVERY = 8
"""Of the embeddings of musicnn, every eighth number is kept."""

# The tensors of the graphs: maximum and mean over time, or the last pooling; the scores of the tags.
OUTPUTS = {
    "MTT_musicnn": ("model/concat_2", "model/Sigmoid"),
    "MSD_musicnn": ("model/concat_2", "model/Sigmoid"),
    "MTT_vgg": ("model/max_pooling2d_4/MaxPool", "model/Sigmoid"),
    "MSD_vgg": ("model/max_pooling2d_4/MaxPool", "model/Sigmoid"),
}


def windows(seconds: float = 3.0) -> np.ndarray:
    """(3, sample) float32: a gliding voice-like tone, bursts of noise, and a chord with noise, none of them loud."""
    rng = np.random.default_rng(2019)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * (220 * time_s + 20 * time_s**2) + 3 * np.sin(2 * np.pi * 5 * time_s)
    voice = sum(np.sin(n * phase) / n for n in range(1, 12))
    drums = rng.standard_normal(len(time_s)) * np.exp(-25 * (time_s % 0.3))
    chord = sum(np.sin(2 * np.pi * f * time_s) for f in (110.0, 138.6, 164.8, 880.0))
    chord = chord + 0.05 * rng.standard_normal(len(time_s))
    return np.stack([0.1 * sound / np.abs(sound).max() for sound in (voice, drums, chord)]).astype(np.float32)


def log_mel(samples: np.ndarray, half: bool = False) -> np.ndarray:
    """(frame, 96) of (sample,), as musicnn's own code computes it; with `half`, in the 16 bits that it rounds to."""
    import librosa

    power = librosa.feature.melspectrogram(y=samples, sr=RATE_HZ, n_fft=512, hop_length=256, n_mels=96).T
    power = power.astype(np.float16) if half else power
    return np.log10(10000 * power + 1)[:FRAMES].astype(np.float32)


def outputs(folder: Path, mels: np.ndarray, names: tuple[str, str]) -> list[np.ndarray]:
    """The tensors `names` of the trained graph in `folder` for (batch, frame, 96)."""
    import tensorflow as tf

    v1 = tf.compat.v1
    meta = v1.MetaGraphDef()
    meta.ParseFromString((folder / ".meta").read_bytes())
    # The graph also holds the training, which today's TensorFlow does not take any more.
    forward = v1.graph_util.extract_sub_graph(meta.graph_def, list(names))
    checkpoint = v1.train.NewCheckpointReader(f"{folder}/")
    with tf.Graph().as_default() as graph, v1.Session() as session:
        tf.import_graph_def(forward, name="")
        for node in forward.node:
            if node.op.startswith("Variable"):
                variable = graph.get_tensor_by_name(f"{node.name}:0")
                session.run(v1.assign(variable, checkpoint.get_tensor(node.name)))
        feeds = {
            node.name: graph.get_tensor_by_name(f"{node.name}:0") for node in forward.node if node.op == "Placeholder"
        }
        values = {
            tensor: np.float32(mels) if tensor.dtype == tf.float32 else np.array(False) for tensor in feeds.values()
        }
        return session.run([f"{name}:0" for name in names], values)


def main(wheel: Path) -> None:
    sounds = windows()
    exact = np.stack([log_mel(sound) for sound in sounds])
    rounded = np.stack([log_mel(sound, half=True) for sound in sounds])
    kept = {}
    with tempfile.TemporaryDirectory() as place, zipfile.ZipFile(wheel) as archive:
        for model, names in OUTPUTS.items():
            folder = Path(place) / "musicnn" / model
            for name in archive.namelist():
                if name.startswith(f"musicnn/{model}/"):
                    archive.extract(name, place)
            embedding, tags = outputs(folder, exact, names)
            if embedding.ndim == 3:  # (batch, feature, maximum or mean)
                embedding = embedding.transpose(0, 2, 1)
            embedding = embedding.reshape(len(sounds), -1)
            kept[f"{model}_embedding"] = embedding[:, ::EVERY] if "musicnn" in model else embedding
            kept[f"{model}_tags"] = tags
            _, rounded_tags = outputs(folder, rounded, names)
            print(f"{model}: {embedding.shape}, rounding changes tags by up to {np.abs(tags - rounded_tags).max():.1e}")
    np.savez_compressed(OUT, **{name: value.astype(np.float32) for name, value in kept.items()})
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The generated band: whole songs as stems, a pure function of a random seed and an index.

A song is a score and its parts. Each part belongs to an instrument family, is played by that family's
module and goes through its own random channel strip: equaliser, compression, reverberation, level.
Families are summed into classes last, so the same song can be rendered for any taxonomy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from restem.audio.writer import write_audio
from restem.executing.processes import Processes
from restem.files import folder_written_aside
from restem.synth import effects
from restem.synth.bass import play_bass
from restem.synth.drums import play_drums
from restem.synth.guitar import play_guitar
from restem.synth.keys import play_mallets, play_piano
from restem.synth.score import Score, arrange, compose
from restem.synth.signals import Array, Generator, decibels, log_uniform
from restem.synth.strings import play_strings
from restem.synth.synthesizer import play_synth
from restem.synth.voice import play_vocals
from restem.synth.winds import play_winds

FAMILIES: tuple[str, ...] = (
    "vocals", "drums", "bass", "guitar", "piano", "strings", "winds", "synth", "mallets",
)  # fmt: skip
"""The instrument families a part can be of."""

CLASS_OF_FAMILY: Mapping[str, str] = {
    "vocals": "vocals", "drums": "drums", "bass": "bass", "guitar": "other", "piano": "other",
    "strings": "other", "winds": "other", "synth": "other", "mallets": "other",
}  # fmt: skip

_PLAYERS: Mapping[str, Callable[..., tuple[object, Array]]] = {
    "vocals": play_vocals, "drums": play_drums, "bass": play_bass, "guitar": play_guitar,
    "piano": play_piano, "strings": play_strings, "winds": play_winds, "synth": play_synth,
    "mallets": play_mallets,
}  # fmt: skip

# The probability of each family as accompaniment.
_OTHERS = {
    "guitar": 0.27,
    "piano": 0.23,
    "synth": 0.2,
    "strings": 0.13,
    "winds": 0.12,
    "mallets": 0.05,
}

# Least share of bars a part plays: vocals rest between phrases too, so they get more bars.
_SHARES = {"vocals": 0.7, "drums": 0.55, "bass": 0.55}
_OTHER_SHARE = 0.5

# A part that sounds for less than this share of the song is drawn again, without sections of rest.
_LEAST_PLAYED = 0.42
_ATTEMPTS = 4

# Loudness of the played passages in dB RMS: mean and standard deviation over songs.
_LOUDNESS_DB = {"vocals": (-22.5, 2.5), "drums": (-22.5, 3.0), "bass": (-22.5, 3.0)}
_OTHER_LOUDNESS_DB = (-24.5, 3.0)
_PEAK_DB = (-18.0, -3.0)
_MIXTURE_PEAK = 0.95

# The noise of a microphone and its preamplifier: well below the music.
_HISS_DB = (-90.0, -68.0)

# First numbers of the seed sequences, so that no two uses share a stream.
_SCORE_STREAM, _PART_STREAM, _CHANNEL_STREAM = 0, 1, 2


@dataclass(frozen=True)
class Part:
    """One part of a song: its instrument family, and its sound in the mix, `(2, sample)` float32."""

    family: str
    sound: Array


def render_song(
    seed: int,
    index: int,
    *,
    seconds: float = 16.0,
    rate_hz: int = 44100,
    classes: Mapping[str, str] | None = None,
) -> dict[str, Array]:
    """Render one song as stems: class -> float32 `(2, sample)`.

    classes: family -> class name; a family it does not name keeps its default (vocals, drums, bass,
    and `other` for the rest). Only classes that have a part in the song are returned; by default
    that is all four. The same arguments give the same samples. A song of less than a bar or two may
    have silent stems.
    """
    mapping = {**CLASS_OF_FAMILY, **(classes or {})}
    stems: dict[str, Array] = {}
    for part in render_parts(seed, index, seconds=seconds, rate_hz=rate_hz):
        name = mapping[part.family]
        stems[name] = stems[name] + part.sound if name in stems else part.sound.copy()
    order = list(dict.fromkeys(mapping[family] for family in FAMILIES))
    return {name: stems[name] for name in order if name in stems}


def render_parts(seed: int, index: int, *, seconds: float, rate_hz: int) -> list[Part]:
    """Render the parts of one song; their sum peaks at 0.95 at most."""
    length = round(seconds * rate_hz)
    rng = np.random.default_rng([seed, index, _SCORE_STREAM])
    score = compose(rng, seconds)
    others = rng.choice(
        list(_OTHERS),
        size=int(rng.choice([1, 2, 3], p=[0.35, 0.4, 0.25])),
        p=list(_OTHERS.values()),
    )
    families = ["vocals", "drums", "bass", *(str(name) for name in others)]
    shares = [_SHARES.get(family, _OTHER_SHARE) for family in families]
    plays = arrange(rng, score, shares)
    sounds = []
    for number, (family, active) in enumerate(zip(families, plays, strict=True)):
        dry = _play(family, score, active, [seed, index, _PART_STREAM, number], rate_hz, length)
        channel_rng = np.random.default_rng([seed, index, _CHANNEL_STREAM, number])
        sounds.append(_channel(dry, family, score, channel_rng, rate_hz))
    return _mix(families, sounds)


def _play(family: str, score: Score, active: Array, stream: list[int], rate_hz: int, length: int) -> Array:
    """Render a part without effects, `(sample,)` or `(2, sample)`; one that is hardly audible is drawn again."""
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng([*stream, attempt])
        bars = active if attempt == 0 else np.ones_like(active)
        _, dry = _PLAYERS[family](score, bars, rng, rate_hz, length)
        if _played_share(dry, rate_hz) >= _LEAST_PLAYED:
            break
    return dry


def _channel(dry: Array, family: str, score: Score, rng: Generator, rate_hz: int) -> Array:
    """Apply a part's channel strip and set its loudness: `(2, sample)` float32."""
    sound = effects.random_equaliser(dry.astype(np.float32), rate_hz, rng, 3.5)
    stereo = effects.pan(sound, _position(family, rng)).astype(np.float32)
    if rng.random() < {"vocals": 0.6, "drums": 0.3}.get(family, 0.15):
        stereo = effects.air(stereo, rate_hz, log_uniform(rng, 3000.0, 8000.0), float(rng.uniform(1.0, 9.0)))
    if rng.random() < 0.5:
        stereo = effects.compress(
            stereo,
            rate_hz,
            threshold_db=float(rng.uniform(-24.0, -8.0)),
            ratio=log_uniform(rng, 1.5, 6.0),
        )
    if rng.random() < {"vocals": 0.25, "guitar": 0.2, "synth": 0.3}.get(family, 0.05):
        stereo = effects.echo(
            stereo, rate_hz, delay_s=score.beat_s * float(rng.choice([0.5, 0.75, 1.0])),
            feedback=float(rng.uniform(0.1, 0.5)), level=float(rng.uniform(0.1, 0.4)),
        )  # fmt: skip
    if rng.random() < (0.35 if family == "bass" else 0.85):
        dry_db = -8.0 if family in ("bass", "drums") else 0.0
        stereo = effects.room(
            stereo, rate_hz, rng, decay_s=log_uniform(rng, 0.2, 1.0 if family == "drums" else 2.8),
            level_db=float(rng.uniform(-26.0, -7.0)) + dry_db,
            dark_hz=log_uniform(rng, 2500.0, 10000.0), predelay_s=float(rng.uniform(0.0, 0.04)),
        )  # fmt: skip
    if rng.random() < 0.1:
        stereo = effects.worn_tape(stereo, rate_hz, rng)
    mean, spread = _LOUDNESS_DB.get(family, _OTHER_LOUDNESS_DB)
    # Peaks are soft-limited by up to 9 dB, as by mixing consoles and tape, so that drums can be loud.
    headroom = decibels(-float(rng.uniform(0.0, 9.0 if family == "drums" else 5.0)))
    stereo = effects.limit(stereo, float(np.abs(stereo).max()) * headroom)
    loudness_db = float(np.clip(rng.normal(mean, spread), mean - 2 * spread, mean + 2 * spread))
    stereo *= decibels(loudness_db) / (_played_rms(stereo, rate_hz) + 1e-9)
    if rng.random() < 0.4:
        stereo += effects.hiss(rng, stereo.shape, rate_hz, float(rng.uniform(*_HISS_DB)))
    return np.asarray(stereo, dtype=np.float32)


def _position(family: str, rng: Generator) -> float:
    """Draw the pan position of a part: the centre for voice, drums and bass, anywhere for the rest."""
    if family in ("vocals", "drums", "bass"):
        return float(rng.normal(0.0, 0.05))
    return float(np.clip(rng.normal(0.0, 0.35), -0.9, 0.9))


def _tenths(sound: Array, rate_hz: int) -> Array:
    """Mean power of each tenth of a second of `(sample,)` or `(channel, sample)`."""
    starts = np.arange(0, sound.shape[-1], max(1, rate_hz // 10))
    power = np.square(np.atleast_2d(sound)).mean(axis=0)
    sizes = np.diff(np.append(starts, len(power)))
    return np.asarray(np.add.reduceat(power, starts) / sizes)


def _played_rms(sound: Array, rate_hz: int) -> float:
    """RMS over the tenths of a second within 30 dB of the loudest."""
    power = _tenths(sound, rate_hz)
    return float(np.sqrt(power[power >= power.max() * 1e-3].mean()))


def _played_share(sound: Array, rate_hz: int) -> float:
    """The share of tenths of a second within 35 dB of the loudest."""
    power = _tenths(sound, rate_hz)
    return float(np.mean(power > power.max() * 10.0**-3.5))


def _mix(families: list[str], sounds: list[Array]) -> list[Part]:
    """Scale parts so that the peaks of each part, of the summed accompaniment and of the mix are in range."""
    parts = []
    for family, sound in zip(families, sounds, strict=True):
        parts.append(Part(family, sound * np.float32(_gain_into_range(sound))))
    other = [part for part in parts if CLASS_OF_FAMILY[part.family] == "other"]
    together = _gain_into_range(np.sum([part.sound for part in other], axis=0))
    total = np.zeros_like(sounds[0])
    scaled = []
    for part in parts:
        gain = together if CLASS_OF_FAMILY[part.family] == "other" else 1.0
        sound = part.sound * np.float32(gain)
        scaled.append(Part(part.family, sound))
        total += sound
    peak = float(np.abs(total).max())
    if peak <= _MIXTURE_PEAK:
        return scaled
    return [Part(part.family, part.sound * np.float32(_MIXTURE_PEAK / peak)) for part in scaled]


def _gain_into_range(sound: Array) -> float:
    peak = float(np.abs(sound).max()) + 1e-9
    low, high = (decibels(level) for level in _PEAK_DB)
    return float(np.clip(peak, low, high)) / peak


def render_band(
    out: Path,
    *,
    songs: int = 24,
    seconds: float = 16.0,
    seed: int = 0,
    rate_hz: int = 44100,
    workers: int | None = 1,
    extension: str = "flac",
    classes: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render `songs` songs into `out/song000/<class>.<extension>` and so on; returns `out`.

    A song's folder is either complete or absent, and existing songs are kept, whatever they were
    rendered with, so that an interrupted rendering resumes. The result is independent of `workers`.
    progress: called with (done, songs).
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(songs) if not (out / f"song{number:03d}").is_dir()]
    done = songs - len(missing)
    if progress is not None:
        progress(done, songs)
    settings = (seed, seconds, rate_hz, extension, dict(classes or {}))
    render = partial(_render_folder, out, *settings)
    for _ in Processes.of(workers).map_unordered(render, missing):
        done += 1
        if progress is not None:
            progress(done, songs)
    return out


def _render_folder(
    out: Path,
    seed: int,
    seconds: float,
    rate_hz: int,
    extension: str,
    classes: Mapping[str, str],
    number: int,
) -> None:
    """Render one song into a temporary folder and rename it when it is complete."""
    stems = render_song(seed, number, seconds=seconds, rate_hz=rate_hz, classes=classes)
    folder = out / f"song{number:03d}"
    with folder_written_aside(folder) as aside:
        for name, sound in stems.items():
            write_audio(aside / f"{name}.{extension}", sound, rate_hz)

"""What `restem audit` finds of what was planted, what it finds besides, and what it costs.

    python benchmarks/audit.py

Songs of the recordings and of the rendered band beside the project, and generated ones, are written again: to each one
thing is done that an audit should find, at one of several strengths, and its mixture is made in one of several ways.
Copies of stems, changed in several ways, are added as songs of their own. Bleed is planted once more in every song,
instantaneous, delayed and through a room, and all pairs of stems are compared. The same songs are also audited as they
are: what is found there was not planted, though it may be real (a lossy origin, an offset of a soundfont). Thresholds
were chosen on other seeds than those reported. Another part times the search for duplicates among many random
fingerprints.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import soundfile
from scipy.signal import butter, fftconvolve, firwin, lfilter, sosfilt
from scipy.stats import rankdata

from common import DATA, QUICK_SONG_SECONDS, parse, publish
from restem import audit
from restem.audio.reader import BLOCK_FRAMES
from restem.audio.store import Store
from restem.auditing.audit import Audit
from restem.auditing.bleed import find_bleed
from restem.auditing.duplicates import find_copies
from restem.executing.processes import IN_THIS_PROCESS
from restem.synth.band import render_band

Song = dict[str, np.ndarray]  # class -> (sample, channel)

COPIES = ("exact", "gain", "offset", "mp3", "equalised", "part 8 s", "part 5 s", "noise -30 dB")
MIXTURES = ("exact", "gain", "mastered", "missing", "foreign", "late")
DAMAGE: Mapping[str, Sequence[float]] = {
    "clipped": (3.0, 6.0, 12.0),  # dB of the peak that are cut off
    "dc": (0.01, 0.03),
    "dead_channel": (1.0,),
    "out_of_phase": (1.0,),
    "lowpass": (8000.0, 11000.0),
    "noise": (-15.0, -25.0, -32.0),  # dB of the stem
    "foreign noise": (-20.0, -40.0),  # dB of full scale
    "foreign hum": (-20.0, -40.0),
    "foreign clicks": (2.0, 5.0),  # a second
    "foreign floor": (-62.0, -66.0),
    "short": (0.5, 2.0),
    "bleed": (-12.0, -20.0, -30.0, -40.0),
}


@dataclass
class Planted:
    """The truth about a written dataset. stems: (song, stem) -> what was done and how strong; copies: by kind."""

    stems: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)
    bleed: dict[tuple[str, str, str], tuple[float, int]] = field(default_factory=dict)
    mixtures: dict[str, str] = field(default_factory=dict)
    late: dict[tuple[str, str], int] = field(default_factory=dict)
    copies: dict[tuple[str, str], str] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[104, 105, 106])
    parser.add_argument("--songs", type=int, default=8, help="songs of each of the three kinds")
    parser.add_argument("--stems", type=int, default=2_000, help="random fingerprints for the timed search")
    options = parse(parser, seeds=[101], songs=3, stems=200)
    totals: dict[str, list[Any]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for seed in options.seeds:
            songs = load_songs(Path(folder), options.songs, seed, options.quick)
            measure(songs, Path(folder), seed, totals)
        pairs = {} if options.quick else pairs_of_takes(Path(folder))
    figures = summarise(totals) | {"search": time_search(options.stems), "pairs": pairs}
    publish("audit", claims(figures), figures, quick=options.quick)


def load_songs(folder: Path, number: int, seed: int, quick: bool) -> dict[str, Song]:
    """Songs of the recordings, of the band, and generated ones; other ones for each seed."""
    rng = np.random.default_rng(seed)
    places = [] if quick else [sorted((DATA / "takes" / "clean").glob("*/")), sorted((DATA / "band").glob("*/"))]
    seconds = 2 * QUICK_SONG_SECONDS if quick else 16.0
    generated = render_band(folder / f"generated{seed}", songs=number, seconds=seconds, seed=seed)
    places.append(sorted(generated.iterdir()))
    songs = {}
    for place in places:
        for index in sorted(rng.permutation(len(place))[:number].tolist()):
            songs[f"{place[index].name}"] = read_song(place[index])
    return songs


def read_song(folder: Path) -> Song:
    song = {}
    for path in sorted(folder.iterdir()):
        samples, rate_hz = soundfile.read(path, dtype="float64", always_2d=True)
        assert rate_hz == RATE_HZ
        song[path.stem] = 0.5 * np.broadcast_to(samples, (len(samples), 2))
    length = min(map(len, song.values()))
    return {name: samples[:length].copy() for name, samples in song.items()}


RATE_HZ = 44100


def measure(songs: Mapping[str, Song], folder: Path, seed: int, totals: dict[str, list[Any]]) -> None:
    clean, planted = folder / f"clean{seed}", folder / f"planted{seed}"
    for name, song in songs.items():
        write(clean / name, {**song, "mixture": sum_of(song)})
    truth = plant(songs, planted, np.random.default_rng(seed))
    before = audit(clean, folder / f"audit-clean{seed}", workers=1)
    after = audit(planted, folder / f"audit{seed}", workers=1)
    totals["stems"].append(sum(map(len, songs.values())))
    time_audit(songs, folder, seed, totals)
    measure_bleed(songs, np.random.default_rng([seed, 1]), totals)
    totals["unplanted"].append(before.counts())
    totals["pairs"].append(before.findings.filter(pl.col("kind") == "duplicate").select("stem", "with_stem").rows())
    totals["clean_mixtures"] += before.mixtures["verdict"].to_list()
    compare(truth, after, totals)


def time_audit(songs: Mapping[str, Song], folder: Path, seed: int, totals: dict[str, list[Any]]) -> None:
    """Times the audit of songs that are as long as real ones, eight joined, with a mixture, and the feature store."""
    whole = [song for song in songs.values() if len(song) == _STEMS]
    for first in range(0, len(whole), _JOINED):
        part = whole[first : first + _JOINED]
        song = {name: np.concatenate([one[name] for one in part]) for name in part[0]}
        write(folder / f"long{seed}" / f"song{first}", {**song, "mixture": sum_of(song)})
    stems = sorted(path for path in (folder / f"long{seed}").glob("*/*.flac") if path.stem != "mixture")
    began = time.process_time()
    Store(folder / f"store{seed}").fill([(path, 0) for path in stems], IN_THIS_PROCESS)
    totals["store_s"].append(time.process_time() - began)
    began = time.process_time()
    audit(folder / f"long{seed}", folder / f"audit-long{seed}", workers=1)
    totals["audit_s"].append(time.process_time() - began)
    totals["hours"].append(sum(soundfile.info(path).duration for path in stems) / 3600.0)


_STEMS = 4
_JOINED = 8


def measure_bleed(songs: Mapping[str, Song], rng: np.random.Generator, totals: dict[str, list[Any]]) -> None:
    """Plants bleed in each song, in each way, and adds (how, planted, sureness, error in dB) of all pairs of stems."""
    for song in songs.values():
        names = [name for name, samples in song.items() if np.mean(samples**2) > 1e-6]
        for how in BLEED_PATHS:
            target, source = rng.permutation(len(names))[:2].tolist()
            level_db = float(rng.uniform(-40.0, -12.0))
            sounds = [song[name].mean(axis=1) for name in names]
            sounds[target] = sounds[target] + 10 ** (level_db / 20) * through(sounds[source], how, rng)
            blocks = max(1, len(sounds[0]) // BLOCK_FRAMES)
            excerpts = np.zeros((len(sounds), blocks * BLOCK_FRAMES), np.float32)
            for row, sound in zip(excerpts, sounds, strict=True):
                row[: min(len(sound), len(row))] = sound[: len(row)]
            found = find_bleed(excerpts.reshape(len(sounds), blocks, BLOCK_FRAMES), RATE_HZ)
            sureness = {(one.target, one.source): one.sureness for one in found}
            gains_db = {(one.target, one.source): one.gain_db for one in found}
            for pair in permutations(range(len(names)), 2):
                error = abs(gains_db.get(pair, -200.0) - level_db)
                totals["bleed_pairs"].append((how, pair == (target, source), sureness.get(pair, 0.0), error))


BLEED_PATHS = ("instantaneous", "delayed", "room")


def through(sound: np.ndarray, how: str, rng: np.random.Generator) -> np.ndarray:
    """The sound as it arrives in another microphone, with the same energy."""
    if how == "instantaneous":
        return sound
    delay = int(rng.integers(10, 1000))
    if how == "delayed":
        return np.concatenate([np.zeros(delay), sound])[: len(sound)]
    # A direct sound, and as much energy in a tail that falls by 60 dB in 0.4 s.
    time_s = np.arange(round(0.4 * RATE_HZ)) / RATE_HZ
    tail = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / 0.4)
    response = np.concatenate([np.zeros(delay), [1.0], tail / np.linalg.norm(tail)]) / np.sqrt(2.0)
    return np.asarray(fftconvolve(sound, response)[: len(sound)])


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """How often a planted one is surer than another one (Mann and Whitney's U over the number of pairs)."""
    both = np.concatenate([positive, negative])
    ranks = rankdata(both)[: len(positive)]
    pairs = len(positive) * len(negative)
    return float((ranks.sum() - len(positive) * (len(positive) + 1) / 2) / pairs)


def pairs_of_takes(folder: Path) -> dict[str, int]:
    """Among all pairs of stems of takes/clean: those found, and those of them that share no recording."""
    sources: dict[str, set[str]] = defaultdict(set)
    for row in pl.read_csv(DATA / "takes" / "credits.csv").iter_rows(named=True):
        sources[f"{row['song']}/{row['class']}"].add(row["file"])
    found = audit(DATA / "takes" / "clean", folder / "audit-takes", workers=1).findings
    pairs = [
        (row["stem"].rpartition(".")[0], row["with_stem"].rpartition(".")[0])
        for row in found.filter(pl.col("kind") == "duplicate").iter_rows(named=True)
    ]
    wrong = [pair for pair in pairs if not sources[pair[0]] & sources[pair[1]]]
    stems = list(sources)
    alike = sum(bool(sources[a] & sources[b]) for index, a in enumerate(stems) for b in stems[:index])
    return {"pairs": len(stems) * (len(stems) - 1) // 2, "share": alike, "found": len(pairs), "wrong": len(wrong)}


def compare(truth: Planted, found: Audit, totals: dict[str, list[Any]]) -> None:
    """Adds (what, whether it was found) for all that was planted."""
    kinds: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in found.findings.iter_rows(named=True):
        kinds[row["song"], row["stem"]].add(row["kind"])
    for (song, stem), (what, strength) in truth.stems.items():
        if what != "bleed":
            totals["damage"].append((what, strength, what.split()[0] in kinds[song, f"{song}/{stem}.flac"]))
    bleed = {(row[0], row[1], row[2]): row[3:] for row in found.bleed.rows()}
    for (song, target, source), (level_db, delay) in truth.bleed.items():
        one = bleed.pop((song, f"{song}/{target}.flac", f"{song}/{source}.flac"), None)
        error = None if one is None else (abs(one[0] - level_db), abs(one[1] - delay))
        totals["bleed"].append((level_db, delay, error))
    totals["other_bleed"].append(len(bleed))
    verdicts = dict(found.mixtures.select("song", "verdict").rows())
    totals["mixtures"] += [(wanted, verdicts[song]) for song, wanted in truth.mixtures.items()]
    late = found.findings.filter(pl.col("kind") == "misaligned")
    delays = {(row["song"], row["stem"]): row["value"] * RATE_HZ / 1000 for row in late.iter_rows(named=True)}
    for (song, stem), delay in truth.late.items():
        totals["late"].append(abs(delays.get((song, f"{song}/{stem}.flac"), 1e9) - delay) <= 1.0)
    pairs = {frozenset((row["stem"], row["with_stem"])) for row in found.findings.iter_rows(named=True)}
    for (copy, original), kind in truth.copies.items():
        totals["copies"].append((kind, frozenset((copy, original)) in pairs))


def sum_of(song: Song) -> np.ndarray:
    return np.asarray(np.sum(list(song.values()), axis=0))


def write(folder: Path, sounds: Song) -> None:
    folder.mkdir(parents=True)
    for name, samples in sounds.items():
        soundfile.write(folder / f"{name}.flac", np.clip(samples, -1, 1), RATE_HZ, subtype="PCM_24")


def plant(songs: Mapping[str, Song], out: Path, rng: np.random.Generator) -> Planted:
    truth = Planted()
    names = list(songs)
    damages = [(what, strength) for what, strengths in DAMAGE.items() for strength in strengths]
    order = rng.permutation(len(damages))
    for number, (name, original) in enumerate(songs.items()):
        song = {stem: samples.copy() for stem, samples in original.items()}
        audible = [stem for stem, samples in song.items() if np.mean(samples**2) > 1e-6]
        stem = str(rng.choice(audible))
        what, strength = damages[order[number % len(damages)]]
        damage(truth, name, song, stem, what, strength, rng)
        others = [one for one in audible if one != stem]
        mixture = mix(truth, name, song, str(rng.choice(others)), songs[names[number - 1]], rng)
        write(out / name, {**song, "mixture": mixture})
        for kind in COPIES:
            copied = str(rng.choice([one for one in audible if one in song]))
            place = f"{name} {kind}/{copied}"
            truth.copies[place + (".mp3" if kind == "mp3" else ".flac"), f"{name}/{copied}.flac"] = kind
            copy(out / place, song[copied], kind, rng)
    # A stem that was damaged beyond recognition is no original.
    gone = {f"{song}/{stem}.flac" for (song, stem), (what, _) in truth.stems.items() if what.startswith("foreign")}
    truth.copies = {pair: kind for pair, kind in truth.copies.items() if pair[1] not in gone}
    return truth


def copy(path: Path, samples: np.ndarray, kind: str, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True)
    tenths = np.mean(samples[: len(samples) // 4410 * 4410].reshape(-1, 4410 * 2) ** 2, axis=1)
    loud = int(np.argmax(np.convolve(tenths, np.ones(10), "valid")))
    begin = int(rng.integers(1, RATE_HZ))
    level = float(np.sqrt(np.mean(samples**2)))
    if kind == "mp3":
        soundfile.write(path.with_suffix(".mp3"), np.clip(samples[begin:], -1, 1), RATE_HZ, format="MP3")
        return
    if kind == "gain":
        samples = samples * rng.uniform(0.1, 0.6)
    elif kind == "offset":
        samples = samples[begin:]
    elif kind == "equalised":
        low = sosfilt(butter(1, 300, fs=RATE_HZ, output="sos"), samples[begin:], axis=0)
        high = sosfilt(butter(1, 3000, "high", fs=RATE_HZ, output="sos"), samples[begin:], axis=0)
        samples = 0.6 * (samples[begin:] - 0.5 * low + rng.uniform(-0.5, 1.5) * high)
    elif kind.startswith("part"):
        length = int(kind.split()[1]) * RATE_HZ
        # The loudest second of the stem lies in it.
        first = max(0, min(len(samples) - length, loud * (RATE_HZ // 10) - int(rng.integers(0, length - RATE_HZ))))
        samples = samples[first : first + length]
    elif kind.startswith("noise"):
        samples = samples + level * 10**-1.5 * rng.standard_normal(samples.shape)
    soundfile.write(path.with_suffix(".flac"), np.clip(samples, -1, 1), RATE_HZ, subtype="PCM_16")


def damage(
    truth: Planted, name: str, song: Song, stem: str, what: str, strength: float, rng: np.random.Generator
) -> None:
    """Does one thing to a stem of a song."""
    x = song[stem]
    level = float(np.sqrt(np.mean(x**2)))
    noise = rng.standard_normal(x.shape)
    time_s = np.arange(len(x)) / RATE_HZ
    truth.stems[name, stem] = (what, strength)
    if what == "clipped":
        limit = np.abs(x).max() * 10 ** (-strength / 20)
        x = np.clip(x, -limit, limit)
    elif what == "dc":
        x = x + strength
    elif what == "dead_channel":
        x[:, 1] = 0
    elif what == "out_of_phase":
        x = np.stack([x.mean(axis=1), -x.mean(axis=1)], axis=1)
    elif what == "lowpass":
        # Noise as loud as hiss fills the band up to the edge, since a bass has nothing there.
        x = lfilter(firwin(1001, strength, fs=RATE_HZ), 1.0, x + level * 10**-1.75 * noise, axis=0)
        truth.stems[name, stem] = (what, strength)
    elif what == "noise":
        x = x + level * 10 ** (strength / 20) * noise
    elif what == "foreign noise" or what == "foreign floor":
        x = 10 ** (strength / 20) * noise
    elif what == "foreign hum":
        hum = sum(np.sin(2 * np.pi * 50 * k * time_s + k) / k for k in (1, 2, 3, 5))
        x = np.repeat(10 ** (strength / 20) * np.asarray(hum)[:, None], 2, axis=1)
    elif what == "foreign clicks":
        x = np.zeros_like(x)
        x[rng.integers(0, len(x), round(strength * len(x) / RATE_HZ))] = 0.3
    elif what == "short":
        x = x[: len(x) - round(strength * RATE_HZ)]
    elif what == "bleed":
        others = [other for other, samples in song.items() if other != stem and np.mean(samples**2) > 1e-6]
        source = str(rng.choice(others))
        delay = int(rng.choice([0, int(rng.integers(10, 1000))]))
        heard = np.concatenate([np.zeros((delay, 2)), song[source]])[: len(x)]
        x = x + 10 ** (strength / 20) * heard
        truth.bleed[name, stem, source] = (strength, delay)
    song[stem] = np.ascontiguousarray(x)


def mix(truth: Planted, name: str, song: Song, stem: str, other_song: Song, rng: np.random.Generator) -> np.ndarray:
    """The mixture of a song, made in one of several ways; changes the song where the mixture is right and it is not."""
    wanted = str(rng.choice(MIXTURES))
    length = max(map(len, song.values()))
    total = np.zeros((length, 2))
    for samples in song.values():
        total[: len(samples)] += samples
    if wanted == "gain":
        total = total * rng.uniform(0.3, 0.9)
    elif wanted == "mastered":
        total = total * rng.uniform(1.5, 3.0) / np.abs(total).max()
        total = 0.9 * (np.tanh(total) if rng.random() < 0.5 else np.clip(total, -1, 1))
    elif wanted == "missing":
        del song[stem]
    elif wanted == "foreign":
        other = max(other_song.values(), key=lambda samples: float(np.mean(samples**2)))
        song[stem] = other[: len(song[stem])].copy()
    elif wanted == "late":
        delay = int(rng.choice([round(rng.uniform(0.002, 0.05) * RATE_HZ), round(rng.uniform(0.1, 2.0) * RATE_HZ)]))
        song[stem] = np.concatenate([np.zeros((delay, 2)), song[stem]])[: len(song[stem])]
        truth.late[name, stem] = delay
    truth.mixtures[name] = wanted
    if wanted in ("missing", "foreign", "late"):
        # What bled from the stem is no longer beside it, or at another time.
        truth.bleed = {key: one for key, one in truth.bleed.items() if (key[0], key[2]) != (name, stem)}
    return total


def time_search(stems: int, frames: int = 12000) -> dict[str, float]:
    """Seconds to find 1 % planted copies among random fingerprints of 4 minutes each."""
    rng = np.random.default_rng(0)
    codes = [rng.integers(1, 2**32, frames, dtype=np.uint32) for _ in range(stems)]
    copies = range(1, stems, 100)
    for number in copies:
        # Every second frame has a few wrong bits.
        wrong = rng.integers(0, 2**32, frames, dtype=np.uint32) & rng.integers(0, 2**32, frames, dtype=np.uint32)
        wrong &= rng.integers(0, 2**32, frames, dtype=np.uint32) & rng.integers(0, 2**32, frames, dtype=np.uint32)
        codes[number] = codes[number - 1] ^ (wrong * (np.arange(frames) % 2)).astype(np.uint32)
    began = time.process_time()
    found = [likely[0] for likely in find_copies(codes)]
    seconds = time.process_time() - began
    right = sum(one.second - one.first == 1 and one.second in copies for one in found)
    return {"stems": stems, "seconds": round(seconds, 1), "recall": right / len(copies), "others": len(found) - right}


def summarise(totals: Mapping[str, list[Any]]) -> dict[str, Any]:
    copies = {kind: share([hit for one, hit in totals["copies"] if one == kind]) for kind in COPIES}
    damages = {}
    for what, strengths in DAMAGE.items():
        for strength in strengths:
            hits = [hit for one, s, hit in totals["damage"] if (one, s) == (what, strength)]
            if hits:
                damages[f"{what} {strength:g}"] = share(hits)
    errors = [error for _, _, error in totals["bleed"] if error is not None]
    wrong = Counter((wanted, got) for wanted, got in totals["mixtures"] if wanted != got)
    unplanted: Counter[str] = Counter()
    for one in totals["unplanted"]:
        unplanted.update(one)
    hours = sum(totals["hours"])
    return {
        "stems": sum(totals["stems"]),
        "hours": round(hours, 3),
        "copies": copies,
        "damage": damages,
        "bleed": {
            "recall": share([error is not None for _, _, error in totals["bleed"]]),
            "within_1_db": share([error[0] <= 1.0 for error in errors]),
            "delay_right": share([error[1] <= 1 for error in errors]),
            "not_planted": sum(totals["other_bleed"]),
            "paths": {
                how: bleed_figures([one[1:] for one in totals["bleed_pairs"] if one[0] == how]) for how in BLEED_PATHS
            },
        },
        "mixtures": {
            "right": share([wanted == got for wanted, got in totals["mixtures"]]),
            "wrong": [f"{wanted} -> {got}: {count}" for (wanted, got), count in wrong.most_common()],
            "unchanged_right": share([got == "exact" for got in totals["clean_mixtures"]]),
        },
        "late": share(totals["late"]),
        "not_planted": dict(unplanted),
        "pairs_not_planted": [list(pair) for pairs in totals["pairs"] for pair in pairs],
        "audit_s_per_hour": round(sum(totals["audit_s"]) / hours, 1),
        "audit_of_store": round(sum(totals["audit_s"]) / sum(totals["store_s"]), 2),
    }


def bleed_figures(pairs: Sequence[tuple[bool, float, float]]) -> dict[str, float]:
    """pairs: (planted, sureness, error in dB) of every pair of stems."""
    planted = np.array([one[0] for one in pairs])
    sureness, error = (np.array([one[place] for one in pairs]) for place in (1, 2))
    return {
        "planted": int(planted.sum()),
        "auroc": round(auroc(sureness[planted], sureness[~planted]), 4),
        "within_1_db": round(float(np.mean(error[planted] <= 1.0)), 4),
        "median_db": round(float(np.median(error[planted])), 2),
    }


BLEED_ASKED = {
    "instantaneous": ">= 0.95; >= 90 %",
    "delayed": ">= 0.90; >= 80 %",
    "room": ">= 0.85; >= 60 %",
}


def share(hits: Sequence[bool]) -> dict[str, Any]:
    return {"of": len(hits), "share": round(sum(hits) / len(hits), 4) if hits else None}


def claims(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    def written(one: Mapping[str, Any]) -> str:
        return "–" if one["share"] is None else f"{one['share']:.1%} of {one['of']}"

    strict = ("exact", "gain", "offset", "mp3")
    rows = [(f"copies found: {kind}", written(one), ">= 99 %" if kind in strict else ">= 95 %")
            for kind, one in figures["copies"].items()]  # fmt: skip
    rows += [(f"found: {what}", written(one), "") for what, one in figures["damage"].items()]
    bleed, mixtures, search = figures["bleed"], figures["mixtures"], figures["search"]
    rows += [
        ("bleed found", written(bleed["recall"]), ""),
        ("bleed within 1 dB", written(bleed["within_1_db"]), ">= 90 %"),
        *(
            (f"bleed, {how}: AUROC; within 1 dB", f"{one['auroc']:.3f}; {one['within_1_db']:.0%}", BLEED_ASKED[how])
            for how, one in bleed["paths"].items()
        ),
        ("delay of bleed within a sample", written(bleed["delay_right"]), ""),
        ("bleed found that was not planted", f"{bleed['not_planted']}", ""),
        ("mixture verdicts right", written(mixtures["right"]), ">= 98 %"),
        ("the same, unchanged songs", written(mixtures["unchanged_right"]), ""),
        ("wrong verdicts", ", ".join(mixtures["wrong"]) or "none", ""),
        ("late stems, to a sample", written(figures["late"]), ""),
        (f"found in {figures['stems']} unchanged stems", str(figures["not_planted"]), ""),
        ("audit of an hour of stems", f"{figures['audit_s_per_hour']} CPU-s", ""),
        ("the same / filling the store", f"{figures['audit_of_store']}", "<= 1.5"),
        (f"search among {search['stems']:,} stems of 4 min", f"{search['seconds']} CPU-s", ""),
        ("copies found there", f"{search['recall']:.1%}, others {search['others']}", ""),
    ]
    if pairs := figures["pairs"]:
        told = f"{pairs['wrong']} of {pairs['pairs']:,} ({pairs['found']} found, {pairs['share']} share one)"
        rows.append(("pairs of takes/clean found that share no recording", told, "0"))
    return rows


if __name__ == "__main__":
    main()

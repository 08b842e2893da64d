"""One pass over a song: all its stems and its mixture, block by block and in step, for everything but duplicates.

A stem is kept whole only in mono at 12 kHz (3 MB a minute), for fingerprints and delays. At its own rate 16 blocks of
1.5 s, evenly spread over the song, are kept, for what the spectrum says and for bleed.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import soxr

from restem.audio.level import power_to_db
from restem.audio.reader import BLOCK_FRAMES, AudioReader, open_audio
from restem.auditing.bleed import MAX_BLEED_DB, MIN_BLEED_DB, MIN_SURENESS, find_bleed, levels_over_time
from restem.auditing.damage import DamageMeter, short_stems
from restem.auditing.findings import Finding
from restem.auditing.fingerprints import RATE_HZ, fingerprint, heard
from restem.auditing.mixtures import InnerProducts, MixtureFit, fit_mixture
from restem.auditing.spectra import spectral_findings
from restem.errors import AudioError
from restem.fetching import keeping
from restem.files import read_json, written_aside
from restem.wording import counted

_EXCERPT_BLOCKS = 16

# Bleed that is so much quieter than usual in a block is not heard in it.
_GONE_DB = 12.0

# In a song, stems that are this much quieter than it are not compared.
_QUIET_DB = -80.0


@dataclass(frozen=True)
class SongJob:
    """A song to audit. stems: the name, file and audio stream of each. mixture: a file and stream, or None.

    out: where the fingerprints are written.
    """

    song: str
    stems: tuple[tuple[str, Path, int], ...]
    mixture: tuple[Path, int] | None
    out: Path


@dataclass
class SongAudit:
    """What was found in one song. mixture: verdict, residual in dB and gains as JSON. failed: stem -> why.

    bleed, bleed_over_time: rows of `bleed.csv` and `bleed_over_time.csv`. rooms: see `Audit.rooms`. seconds: the
    duration of each stem.
    """

    song: str
    findings: list[Finding] = field(default_factory=list)
    bleed: list[tuple[str, str, str, float, int]] = field(default_factory=list)
    bleed_over_time: list[tuple[str, str, str, float, float, float]] = field(default_factory=list)
    rooms: list[tuple[str, str, float]] = field(default_factory=list)
    mixture: tuple[str, float | None, str] = ("none", None, "")
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> SongAudit:
        """The audit that `as_json` wrote."""
        content = read_json(path)
        content["findings"] = [Finding(**one) for one in content["findings"]]
        for name in ("bleed", "bleed_over_time", "rooms"):
            content[name] = [tuple(row) for row in content[name]]
        content["mixture"] = tuple(content["mixture"])
        return cls(**content)

    def as_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


class _Signal:
    """One stem or the mixture while it is read."""

    def __init__(self, name: str, audio: AudioReader, out_of_phase: bool = False) -> None:
        self.name = name
        self.info = audio.info
        self.meter = DamageMeter(audio.info.rate_hz, audio.info.channels)
        self.blocks: list[np.ndarray] = []
        self.places: list[int] = []
        self._audio = audio.blocks()
        self._out_of_phase = out_of_phase
        self._track: list[np.ndarray] = []
        self._mono = np.zeros(0, np.float32)
        rate_hz = audio.info.rate_hz
        self._resampler = soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="float32", quality="LQ")

    def next(self) -> np.ndarray | None:
        """The next block, (channel, sample), or None at the end."""
        block = next(self._audio, None)
        if block is None:
            self._track.append(self._resampler.resample_chunk(self._mono[:0], last=True))
            self._mono = self._mono[:0]
            return None
        # Channel by channel, sums over them take a tenth of the time.
        block = np.ascontiguousarray(block)
        self.meter.add(block)
        self._mono = heard(block, self._out_of_phase)
        self._track.append(self._resampler.resample_chunk(self._mono))
        return block

    def keep(self, number: int) -> None:
        """Keeps the block that was read last, the one of this number, in mono; zeros where the stem has ended."""
        kept = np.zeros(BLOCK_FRAMES, np.float32)
        kept[: len(self._mono)] = self._mono
        self.blocks.append(kept)
        self.places.append(number)

    @property
    def track(self) -> np.ndarray:
        """(sample,) in mono at 12 kHz."""
        return np.concatenate(self._track)

    @property
    def seconds(self) -> float:
        return self.meter.samples / self.info.rate_hz

    @property
    def level_db(self) -> float:
        return float(power_to_db(self.meter.power.mean()))


def audit_song(job: SongJob) -> SongAudit:
    """Audits one song, and writes the fingerprints of its stems to `job.out`. A stem that cannot be read is listed."""
    with keeping():  # some are read again
        audit, codes = heard_song(job)
    write_codes(job.out, codes)
    return audit


def heard_song(job: SongJob) -> tuple[SongAudit, list[np.ndarray]]:
    """What is found in one song, and the fingerprints of its stems; nothing is written."""
    audit = SongAudit(job.song)
    wanted = [(name, file, stream) for name, file, stream in job.stems]
    if job.mixture is not None:
        wanted.append(("", *job.mixture))
    while True:
        failed, signals, products = _read(wanted)
        if failed is None:
            break
        # The others are read again without it, so that their sums do not hold half of it.
        name, reason = failed
        audit.failed[name or f"{job.song}: mixture"] = reason
        wanted = [one for one in wanted if one[0] != name]
    stems = [signal for signal in signals if signal.name]
    mixture = next((signal for signal in signals if not signal.name), None)
    codes = {}
    for signal in stems:
        audit.seconds[signal.name] = signal.seconds
        audit.findings += signal.meter.findings(job.song, signal.name)
        sound = signal
        if signal.meter.out_of_phase:
            # Its mean is silent, so its first channel is looked at. The mixture is fitted by the means of all.
            failed, again, _ = _read([one for one in wanted if one[0] == signal.name], out_of_phase=True)
            if failed is not None:
                audit.failed[signal.name] = failed[1]
                continue
            (sound,) = again
        codes[signal.name] = fingerprint(sound.track)
        if not signal.meter.silent:
            blocks = np.stack(sound.blocks)
            audit.findings += spectral_findings(job.song, signal.name, blocks, signal.info.rate_hz, signal.level_db)
    audit.findings += short_stems(job.song, audit.seconds)
    together = _comparable(stems)
    _audit_bleed(audit, together)
    # Without a stem that cannot be read, nothing can be said about a sum.
    complete = len(stems) == len(job.stems)
    if mixture is not None and complete and products is not None:
        _audit_mixture(audit, stems, mixture, products.total)
    elif mixture is not None and complete:
        message = "the mixture and the stems differ in rate or channels, and were not compared"
        audit.findings.append(Finding(job.song, "", "mixture", 0.0, "dB", message))
    return audit, [codes.get(name, np.zeros(0, np.uint32)) for name, _, _ in job.stems]


def unread_song(job: SongJob, reason: str) -> SongAudit:
    """The audit of a song of which no stem can be read."""
    write_codes(job.out, [np.zeros(0, np.uint32) for _ in job.stems])
    return SongAudit(job.song, failed={name: f"{file}: cannot be read: {reason}." for name, file, _ in job.stems})


def write_codes(path: Path, codes: list[np.ndarray]) -> None:
    """Writes the fingerprints of a song's stems, one after the other, each after its length."""
    with written_aside(path) as aside, aside.open("wb") as file:
        for one in codes:
            file.write(np.array([len(one)], "<u4").tobytes() + one.astype("<u4").tobytes())


def read_codes(path: Path) -> list[np.ndarray]:
    """What `write_codes` wrote."""
    words, codes, at = np.fromfile(path, "<u4"), [], 0
    while at < len(words):
        codes.append(words[at + 1 : at + 1 + int(words[at])])
        at += 1 + int(words[at])
    return codes


def _read(
    wanted: list[tuple[str, Path, int]], out_of_phase: bool = False
) -> tuple[tuple[str, str] | None, list[_Signal], InnerProducts | None]:
    """Reads all signals to their ends; the first one that cannot be read, and why, ends it."""
    readers: list[AudioReader] = []
    signals: list[_Signal] = []
    name = ""
    try:
        for name, file, stream in wanted:
            readers.append(open_audio(file, stream))
            signals.append(_Signal(name, readers[-1], out_of_phase))
        summable = bool(wanted) and wanted[-1][0] == "" and _summable(signals)
        channels = max((signal.info.channels for signal in signals), default=1)
        products = InnerProducts(len(signals), channels) if summable else None
        kept = _kept_blocks(max((signal.info.frames for signal in signals), default=0))
        running = set(range(len(signals)))
        number = 0
        while running:
            blocks: list[np.ndarray | None] = [None] * len(signals)
            for index in sorted(running):
                name = signals[index].name
                blocks[index] = signals[index].next()
                if blocks[index] is None:
                    running.discard(index)
            if not any(block is not None for block in blocks):
                break
            if products is not None:
                products.add(_stacked(blocks, channels))
            if number in kept:
                for signal in signals:
                    signal.keep(number)
            number += 1
    except AudioError as error:
        return (name, str(error)), [], None
    finally:
        for reader in readers:
            reader.close()
    return None, signals, products


def _kept_blocks(frames: int) -> set[int]:
    blocks = -(-frames // BLOCK_FRAMES)
    return {int(number) for number in np.linspace(0, max(0, blocks - 1), min(_EXCERPT_BLOCKS, max(1, blocks)))}


def _summable(signals: list[_Signal]) -> bool:
    """Whether all signals have one rate, and one number of channels or a single one."""
    channels = {signal.info.channels for signal in signals} - {1}
    return len({signal.info.rate_hz for signal in signals}) == 1 and len(channels) < 2


def _stacked(blocks: list[np.ndarray | None], channels: int) -> np.ndarray:
    """(signal, channel, sample); mono is spread, and what has ended is silent."""
    length = max(block.shape[1] for block in blocks if block is not None)
    stacked = np.zeros((len(blocks), channels, length), np.float32)
    for row, block in zip(stacked, blocks, strict=True):
        if block is not None:
            row[:, : block.shape[1]] = block
    return stacked


def _comparable(stems: list[_Signal]) -> list[_Signal]:
    """The stems that are not silent, of the rate that most of them have."""
    sounding = [stem for stem in stems if not stem.meter.silent and stem.level_db > _QUIET_DB]
    rates = Counter(stem.info.rate_hz for stem in sounding).most_common(1)
    return [stem for stem in sounding if stem.info.rate_hz == rates[0][0]]


def _audit_bleed(audit: SongAudit, stems: list[_Signal]) -> None:
    if len(stems) < 2:
        return
    excerpts = np.stack([np.stack(stem.blocks) for stem in stems])
    rate_hz = stems[0].info.rate_hz
    for one in find_bleed(excerpts, rate_hz):
        if one.sureness < MIN_SURENESS or one.gain_db < MIN_BLEED_DB or one.gain_db - one.room_db > MAX_BLEED_DB:
            continue
        target, source = stems[one.target], stems[one.source]
        audit.bleed.append((audit.song, target.name, source.name, one.gain_db, one.delay))
        start_s, end_s = _bleed_over_time(audit, target, source, levels_over_time(excerpts, one, rate_hz), one.gain_db)
        late_ms = 1000.0 * one.delay / target.info.rate_hz
        when = f", {abs(late_ms):.1f} ms {'later' if late_ms > 0 else 'earlier'}" if one.delay else ""
        room = ", through a room" if one.room_db else ""
        if one.room_db:
            audit.rooms.append((target.name, source.name, one.room_db))
        message = f"{source.name} is heard in it at {one.gain_db:.1f} dB{when}{room}"
        audit.findings.append(
            Finding(
                audit.song, target.name, "bleed", one.gain_db, "dB", message, start_s, end_s,
                audit.song, source.name,
            )
        )  # fmt: skip


def _bleed_over_time(
    audit: SongAudit, target: _Signal, source: _Signal, levels_db: list[float | None], usual_db: float
) -> tuple[float | None, float | None]:
    """Adds rows about bleed over time; returns when it is heard, None for wherever its source is loud."""
    rate_hz = target.info.rate_hz
    told = [
        (number, level_db) for number, level_db in zip(target.places, levels_db, strict=True) if level_db is not None
    ]
    for number, level_db in told:
        start_s = number * BLOCK_FRAMES / rate_hz
        row = audit.song, target.name, source.name, start_s, start_s + BLOCK_FRAMES / rate_hz, level_db
        audit.bleed_over_time.append(row)
    heard = [number for number, level_db in told if level_db > usual_db - _GONE_DB]
    if not heard or len(heard) == len(told):
        return None, None
    return heard[0] * BLOCK_FRAMES / rate_hz, min((heard[-1] + 1) * BLOCK_FRAMES / rate_hz, target.seconds)


def _audit_mixture(audit: SongAudit, stems: list[_Signal], mixture: _Signal, products: np.ndarray) -> None:
    signals = [*stems, mixture]
    if mixture.meter.silent:
        audit.mixture = ("missing", 0.0, "")
        audit.findings.append(Finding(audit.song, "", "mixture", 0.0, "dB", "the mixture is silent"))
        return
    excerpts = np.stack([np.stack(signal.blocks) for signal in signals])
    fit = fit_mixture(products, [signal.track for signal in signals], excerpts, mixture.info.rate_hz)
    gains = {stem.name: round(gain, 5) for stem, gain in zip(stems, fit.gains, strict=True)}
    audit.mixture = (fit.verdict, fit.residual_db, json.dumps(gains, ensure_ascii=False))
    rate_hz = mixture.info.rate_hz
    for stem, delay in fit.delays:
        late_ms = 1000.0 * delay / rate_hz
        message = f"starts {abs(late_ms):.1f} ms {'later' if delay > 0 else 'earlier'} than it sounds in the mixture"
        audit.findings.append(Finding(audit.song, stems[stem].name, "misaligned", late_ms, "ms", message))
    for channel in fit.dead:
        message = f"channel {channel + 1} of the mixture is silent"
        audit.findings.append(Finding(audit.song, "", "dead_channel", -200.0, "dB", message))
    if message := _mixture_message(fit, [stem.name for stem in stems]):
        audit.findings.append(Finding(audit.song, "", "mixture", fit.residual_db, "dB", message))


def _mixture_message(fit: MixtureFit, names: list[str]) -> str:
    """What is wrong with the mixture; empty where it is the sum of the stems."""
    residual = f"{fit.residual_db:.0f} dB of it are unexplained"
    if fit.verdict == "gain":
        gains = np.array([gain for gain in fit.gains if abs(gain) > 1e-6])
        if np.ptp(gains) < 0.02 * np.abs(gains).max():
            sign = ", with the sign turned" if gains.mean() < 0 else ""
            return f"the mixture is the sum of the stems at {power_to_db(gains.mean() ** 2):.1f} dB{sign}"
        return "the mixture is the sum of the stems, each with a gain of its own"
    if fit.verdict == "foreign":
        return f"not in the mixture: {', '.join(names[stem] for stem in fit.absent)}; {residual}"
    if fit.verdict == "late":
        return f"{counted(len(fit.delays), 'stem')} shifted against the mixture; {residual} without the shift"
    if fit.verdict == "mastered":
        return f"the mixture was compressed, limited, equalised or coded with loss; {residual}"
    if fit.verdict == "missing":
        return f"the mixture holds something that is in no stem; {residual}"
    return ""

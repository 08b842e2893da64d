"""The findings that cost little: what a few stretches of every stem, its length and its features show.

A refinement looks for them by itself. Each stem is read for 12 s where it sounds, by whoever makes its features: so it
is fetched once from object storage. Times are not known, and only stems whose features are equal are called duplicates;
an audit reads every stem whole.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from restem.audio.entries import Source
from restem.audio.level import power_to_db
from restem.audio.reader import BLOCK_FRAMES, open_audio
from restem.audio.stored import Rows
from restem.auditing.damage import DamageMeter, short_stems
from restem.auditing.findings import KINDS, Finding, Kind, shared_recording
from restem.auditing.fingerprints import heard
from restem.auditing.spectra import spectral_findings
from restem.dataset.table import Stem
from restem.progress import Report

_STRETCHES = 8
_COMPARED_FRAMES = 100  # where a stem sounds; where these are equal, all are compared


@dataclass(frozen=True)
class Looked:
    """A stem that sounds. damage: what `look` found. rows: its features. sounding: a frame from which on it sounds."""

    stem: Stem
    seconds: float
    damage: Sequence[Finding]
    rows: Rows
    sounding: int


def quick_findings(looked: Sequence[Looked], report: Report) -> list[Finding]:
    """What is wrong with these stems, in their order. report: called with the stems compared and in all."""
    found = [[replace(damage, song=one.stem.song, stem=one.stem.name) for damage in one.damage] for one in looked]
    place = {one.stem.name: index for index, one in enumerate(looked)}
    seconds: dict[str, dict[str, float]] = {}
    for one in looked:
        seconds.setdefault(one.stem.song, {})[one.stem.name] = one.seconds
    for song, lengths in seconds.items():
        for short in short_stems(song, lengths):
            found[place[short.stem]].append(short)
    for first, second in _equal(looked, report):
        found[second].append(shared_recording(looked[first].stem, looked[second].stem, 1.0, "the same recording as"))
    return [one for findings in found for one in sorted(findings, key=lambda one: KINDS.index(one.kind))]


def described(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The findings as `run.json` keeps them."""
    return [asdict(one) for one in findings]


def findings_in(description: Mapping[str, Any]) -> list[Finding]:
    """The findings that the description of a run keeps."""
    return [Finding(**one) for one in description.get("findings") or ()]


def count_kinds(findings: Sequence[Finding]) -> dict[Kind, int]:
    """For each kind that was found, in the order of the kinds, how many findings there are."""
    found = Counter(one.kind for one in findings)
    return {kind: found[kind] for kind in KINDS if found[kind]}


def look(source: Source, starts_s: np.ndarray, level_db: float) -> list[Finding]:
    """What the samples of a few stretches of a stem show; the findings do not name it.

    starts_s: where its segments that sound begin. level_db: of the whole stem. Raises AudioError as `open_audio` does.
    """
    chosen = np.unique(np.linspace(0, len(starts_s) - 1, min(_STRETCHES, len(starts_s))).astype(int))
    with open_audio(*source) as audio:
        rate_hz, seconds = audio.info.rate_hz, BLOCK_FRAMES / audio.info.rate_hz
        meter = DamageMeter(rate_hz, audio.info.channels)
        stretches = [audio.read(start_s, start_s + seconds) for start_s in starts_s[chosen].tolist()]
    stretches = [stretch for stretch in stretches if stretch.shape[1]]
    for stretch in stretches:
        meter.add(stretch)
    if not stretches or meter.silent:
        return []
    blocks = np.zeros((len(stretches), BLOCK_FRAMES), np.float32)
    for block, stretch in zip(blocks, stretches, strict=True):
        block[: stretch.shape[1]] = heard(stretch, meter.out_of_phase)
    findings = meter.findings("", "") + spectral_findings("", "", blocks, rate_hz, level_db)
    return [replace(finding, start_s=None, end_s=None, message=_without_count(finding)) for finding in findings]


def _without_count(finding: Finding) -> str:
    """The message; of peaks, only some were counted."""
    return finding.message.split(maxsplit=1)[1] if finding.kind == "clipped" else finding.message


def _equal(looked: Sequence[Looked], report: Report) -> list[tuple[int, int]]:
    """Pairs of stems with equal features; each later one with the first."""
    alike: dict[tuple[int, bytes], list[int]] = {}
    for index, one in enumerate(looked):
        some = one.rows[one.sounding : one.sounding + _COMPARED_FRAMES]
        alike.setdefault((len(one.rows), hashlib.sha256(some.tobytes()).digest()), []).append(index)
        report(index + 1, len(looked))
    pairs = []
    for group in alike.values():
        first_with: dict[bytes, int] = {}
        for index in group if len(group) > 1 else ():
            whole = hashlib.sha256(looked[index].rows[:].tobytes()).digest()
            first = first_with.setdefault(whole, index)
            if first != index:
                pairs.append((first, index))
    return pairs


def level_db(segments_db: np.ndarray) -> float:
    """The level of a stem from those of its segments."""
    return float(power_to_db(float(np.mean(10.0 ** (segments_db.astype(np.float64) / 10.0)))))

"""Which stems of a dataset share a recording: likely by their fingerprints, and certain by their sound."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from restem.audio.reader import open_audio
from restem.auditing.duplicates import LIKENESS_S, MIN_LIKENESS, Copy, find_copies, likeness
from restem.auditing.findings import Finding, shared_recording
from restem.auditing.fingerprints import HOP_S, RATE_HZ, heard
from restem.dataset.table import Dataset, Stem
from restem.executing.interface import Executor
from restem.progress import Progress, stage

# Within one song, what two stems share at the same time is bleed unless it is most of one of them.
_SAME_SONG_SHARE = 0.5


def copies_by_sound(
    dataset: Dataset,
    stems: Sequence[Stem],
    codes: Sequence[np.ndarray],
    out_of_phase: Collection[str],
    executor: Executor,
    progress: Progress | None,
) -> list[Copy]:
    """The pairs of stems that share a recording, by their sound too: each at the best offset at which it is alike."""

    def side(number: int, start: int, copy: Copy) -> _Stretch:
        seconds = min(LIKENESS_S, (copy.start + copy.frames - copy.densest) * HOP_S)
        stem = stems[number]
        return _Stretch(dataset.file(stem), stem.stream or 0, start * HOP_S, seconds, stem.name in out_of_phase)

    def is_bleed(copy: Copy) -> bool:
        same_song = stems[copy.first].song == stems[copy.second].song
        return same_song and abs(copy.offset) <= 1 and copy.share < _SAME_SONG_SHARE

    found = {}
    # Where bleed is the likeliest, other offsets are those of a bleeding loop.
    pairs = [likely for likely in find_copies(codes) if not is_bleed(likely[0])]
    left = [[copy for copy in likely if not is_bleed(copy)] for likely in pairs]
    report, done, total = stage(progress, "comparing likely duplicates"), 0, len(left)
    while left:
        places = [likely[0] for likely in left]
        jobs = [(side(one.first, one.densest - one.offset, one), side(one.second, one.densest, one)) for one in places]
        for index, value in executor.map_unordered(_compare_sound, jobs, chunk=8):
            one = places[index]
            if value >= MIN_LIKENESS:
                found[one.first, one.second] = one
            done += 1
            report(done, total)
        left = [likely[1:] for likely in left if (likely[0].first, likely[0].second) not in found and len(likely) > 1]
        total += len(left)
    return [found[pair] for pair in sorted(found)]


@dataclass(frozen=True)
class _Stretch:
    """A stretch of a stem."""

    file: Path
    stream: int
    start_s: float
    seconds: float
    out_of_phase: bool

    def read(self) -> np.ndarray:
        """(sample,) in mono, at the rate at which stems are compared."""
        with open_audio(self.file, self.stream) as audio:
            samples = heard(audio.read(self.start_s, self.start_s + self.seconds), self.out_of_phase)
            return np.asarray(soxr.resample(samples, audio.info.rate_hz, RATE_HZ), np.float32)


def _compare_sound(job: tuple[_Stretch, _Stretch]) -> float:
    first, second = job
    return likeness(first.read(), second.read())


def duplicate_finding(first: Stem, second: Stem, copy: Copy) -> Finding:
    """The finding in the later of two stems, which share a recording."""
    later_s = copy.offset * HOP_S
    when = f" {abs(later_s):.2f} s {'later' if later_s > 0 else 'earlier'}" if abs(copy.offset) > 1 else ""
    part = "the same recording as" if copy.share > 0.9 else "a part of the recording in"
    return shared_recording(
        first, second, copy.share, part, when, copy.start * HOP_S, (copy.start + copy.frames) * HOP_S
    )

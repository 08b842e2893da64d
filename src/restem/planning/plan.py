"""The plan of a command: what it would read and write, and how long it would take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from restem.dry_running import would_begin
from restem.wording import counted


@dataclass(frozen=True)
class Stage:
    """A part of the work. seconds: how long it is expected to take. detail: how much there is to do."""

    name: str
    seconds: float
    detail: str = ""


@dataclass(frozen=True)
class Plan:
    """What a command would do.

    reads, writes: in words, a line each. stages: in the order of the work; none if nothing is left to do. rates: what
    was measured for the estimate, in words.
    """

    reads: Sequence[str]
    writes: Sequence[str]
    stages: Sequence[Stage] = ()
    rates: Sequence[str] = ()

    @property
    def seconds(self) -> float:
        """How long all of it is expected to take."""
        return sum(stage.seconds for stage in self.stages)

    def lines(self) -> list[str]:
        """The plan in words."""
        lines = [*(f"Would read {one}." for one in self.reads), *(f"Would write {one}." for one in self.writes)]
        if not self.stages:
            return [*lines, "All of it is there already: nothing would be done."]
        width = max(len(stage.name) for stage in self.stages)
        lines += [
            f"  {stage.name:{width}}  {duration(stage.seconds):>9}  {stage.detail}".rstrip() for stage in self.stages
        ]
        lines.append(f"Estimated time: {duration(self.seconds)}.")
        if self.rates:
            lines.append(f"Measured on this machine just now: {'; '.join(self.rates)}.")
        return [*lines, "Nothing was written."]


def plan(work: Callable[[], object], estimate: Callable[[], Plan]) -> Plan:
    """The plan of `work`: what `estimate` says, or one without stages if all of it is done.

    Raises what `work` raises before it begins, since what is wrong with the request is said in a dry run, too.
    """
    return estimate() if would_begin(work) else Plan((), ())


def duration(seconds: float) -> str:
    """A duration that is only estimated: `2 s`, `5 min`, `1 h 20 min`."""
    if seconds < 1:
        return "< 1 s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60:,} h {minutes % 60} min"


def audio_text(stems: int, seconds: float) -> str:
    """How much audio there is: `12 stems, 0.5 h of audio`."""
    amount = f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
    return f"{counted(stems, 'stem')}, {amount} of audio"


def size_text(number: float) -> str:
    """A number of bytes: `3 MB`, `1.2 GB`."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{max(1, round(number / 1e6)):,} MB"

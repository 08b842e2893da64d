"""Progress where there is no terminal (nohup, SLURM, a pipe): a line when work begins, and now and then how far it is.

training ...
training: 10 % (1,000 of 10,000), 0:32 so far, 4:48 left
training: done, 5:19
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

SHARE = 0.1  # of the work, after which there is a line
EVERY_S = 30.0  # and so long after the last one, if that is sooner
_SHORT_S = 2.0  # what is done sooner gets no second line


@dataclass
class _Stage:
    """began, first: when the work began, and the units done by then. said_at, said: the same of the last line."""

    began: float
    first: int
    said: int
    said_at: float


class ProgressLines:
    """A `restem.progress.Progress` that writes lines with `say`. clock: seconds from any start."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.say = say
        self.clock = clock
        self.stages: dict[str, _Stage] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = self.clock()
        if stage not in self.stages or done < self.stages[stage].said:  # the same stage may come again, of other work
            self.stages[stage] = _Stage(now, done, done, now)
            # Work that was interrupted does not begin at nothing, nor after its first unit.
            begins = f" goes on from {100 * done / total:.0f} %" if 1 < done < total else ""
            self.say(f"{stage}{begins} ...")
            return
        one = self.stages[stage]
        if one.said >= total:
            return
        passed = now - one.began
        if done >= total:
            one.said = done
            if passed >= _SHORT_S:
                self.say(f"{stage}: done, {_clock(passed)}")
        elif (
            done > one.said
            and passed >= _SHORT_S
            and (done - one.said >= SHARE * total or now - one.said_at >= EVERY_S)
        ):
            left = passed / (done - one.first) * (total - done)
            share = f"{100 * done / total:.0f} %"
            self.say(f"{stage}: {share} ({done:,} of {total:,}), {_clock(passed)} so far, {_clock(left)} left")
            one.said, one.said_at = done, now


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

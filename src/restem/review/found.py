"""What the page of findings works on: the findings of an audit, what is heard of each, and what people decided.

Findings are known by their row in `findings.csv`, so that a request can only be about what the audit names. Of a run
without an audit, the few findings that its refinement kept are shown, and nothing can be decided.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from restem.audio.reader import probe
from restem.auditing.audit import Audit
from restem.auditing.findings import KINDS, MEANINGS, findings_table
from restem.auditing.judgements import Judgements, key_of
from restem.auditing.quick import findings_in
from restem.dataset.table import split_stem_name, within_song
from restem.errors import UsageError
from restem.review.session import ReviewSession, UnreachableError
from restem.review.sound import MadeWav, Part
from restem.wording import printable

_COLUMNS = ("kind", "value", "unit", "start_s", "end_s")


@dataclass(frozen=True)
class Side:
    """One of the sounds that are compared: what it is, and how it is made."""

    name: str
    wav: MadeWav


class FoundReview:
    """The findings of the dataset of a review. audit: None for those that the refinement itself kept."""

    def __init__(self, session: ReviewSession, audit: Audit | None) -> None:
        self.session = session
        self.audit = audit
        if audit is None:
            self.findings = findings_table(findings_in(session.run.description))
            return
        self.findings = audit.findings
        self._judgements = Judgements(audit.path)
        self._place = {tuple(row[:2]): row[2:] for row in audit.copies.rows()}
        # What a room adds comes at many times, and cannot be subtracted so.
        self._bleed = {
            (target, source): (level_db - audit.rooms.get((target, source), 0.0), delay)
            for _, target, source, level_db, delay in audit.bleed.rows()
        }
        self._gains = dict(audit.mixtures.select("song", "gains").rows())

    def table(self) -> dict[str, Any]:
        """All findings as columns, in the order of the audit, and what was decided about each."""
        rows = self.findings.to_dicts()
        standing = {} if self.audit is None else self._judgements.standing()
        judged = [standing.get(key_of(row)) for row in rows]
        return {
            "audit": "" if self.audit is None else printable(str(self.audit.path)),
            "kinds": {kind: MEANINGS[kind] for kind in KINDS},
            **{name: self.findings[name].to_list() for name in _COLUMNS},
            "song": [printable(row["song"]) for row in rows],
            "stem": [printable(within_song(row["song"], row["stem"])) if row["stem"] else "" for row in rows],
            "message": [printable(row["message"]) for row in rows],
            "judged": ["" if one is None else one.judged for one in judged],
            "person": ["" if one is None else printable(one.person) for one in judged],
        }

    def judge(self, index: int, judged: str, person: str) -> dict[str, Any]:
        """Records what a person decided about a finding; UsageError where there is no audit to keep it with."""
        row = self._row(index)
        if self.audit is None:
            raise UsageError("Decisions about findings are kept with an audit; give one to the review.")
        self._judgements.add(key_of(row), judged, person)
        return {"index": index, "judged": judged, "person": printable(person) if judged else ""}

    def sides(self, index: int) -> list[dict[str, Any]]:
        """What can be heard of a finding. Raises UnreachableError and AudioError as `ReviewSession.source` does."""
        return [{"name": side.name, "seconds": side.wav.frames / side.wav.rate_hz} for side in self._sides(index)]

    def sound(self, index: int, side: int) -> MadeWav:
        """One of the sides of a finding."""
        sides = self._sides(index)
        if side >= len(sides):
            raise UnreachableError("There is no such sound.")
        return sides[side].wav

    def _sides(self, index: int) -> list[Side]:
        row = self._row(index)
        stem, other = row["stem"], row["with_stem"]
        if row["kind"] in ("duplicate", "leak"):
            start_s, with_start_s, seconds = self._stretch(stem, other)
            return [
                Side(self._name(stem), MadeWav.sum_of((self._part(stem),), start_s, seconds)),
                Side(self._name(other), MadeWav.sum_of((self._part(other),), with_start_s, seconds)),
            ]
        if row["kind"] == "bleed":
            level_db, delay = self._bleed[stem, other]
            removed = self._part(other, -(10.0 ** (level_db / 20.0)), delay)
            return [
                Side(self._name(stem), MadeWav.sum_of((self._part(stem),))),
                Side(self._name(other), MadeWav.sum_of((self._part(other),))),
                Side(self._without(stem, other), MadeWav.sum_of((self._part(stem), removed))),
            ]
        if not stem or row["kind"] == "misaligned":
            return self._mixture_sides(row["song"], stem)
        return [Side(self._name(stem), MadeWav.sum_of((self._part(stem),)))]

    def _without(self, stem: str, other: str) -> str:
        assert self.audit is not None
        return "without the direct sound of the bleed" if (stem, other) in self.audit.rooms else "without the bleed"

    def _mixture_sides(self, song: str, stem: str) -> list[Side]:
        """The mixture, the sum of the stems, and what the fitted sum leaves of it; of a late stem, that stem."""
        mixture = self._mixture(song)
        sides = [Side("mixture", MadeWav.sum_of((mixture,)))]
        if stem:
            return [Side(self._name(stem), MadeWav.sum_of((self._part(stem),))), *sides]
        stems = [row["stem"] for row in self.session.found if row["song"] == song]
        sides.append(Side("sum of the stems", MadeWav.sum_of(tuple(map(self._part, stems)))))
        if gains := json.loads(self._gains.get(song) or "{}"):
            fitted = tuple(self._part(name, -gain) for name, gain in gains.items())
            sides.append(Side("what the stems leave of the mixture", MadeWav.sum_of((mixture, *fitted))))
        return sides

    def _mixture(self, song: str) -> Part:
        if self.audit is None or song not in self.audit.mixture_files:
            raise UnreachableError("The mixture of this song is not known.")
        file, stream = self.audit.mixture_files[song]
        if not file.is_file():
            raise UnreachableError(f"{printable(str(file))}: is not there; bring it back, and reload the page.")
        return Part(file, stream)

    def _stretch(self, stem: str, other: str) -> tuple[float, float, float]:
        """Where a shared stretch begins in both stems, and how long it is."""
        if self.audit is not None:
            return self._place[stem, other]  # type: ignore[return-value]
        return 0.0, 0.0, probe(*self.session.file(stem)).seconds

    def _part(self, stem: str, gain: float = 1.0, delay: int = 0) -> Part:
        return Part(*self.session.file(stem), gain, delay)

    def _name(self, stem: str) -> str:
        return printable(split_stem_name(stem)[0])

    def _row(self, index: int) -> dict[str, Any]:
        if index >= len(self.findings):
            raise UnreachableError("There is no such finding.")
        return self.findings.row(index, named=True)

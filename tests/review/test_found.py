"""What is heard of findings, what people decide about them, and that what is ignored is left out."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

import restem
from restem.auditing.audit import Audit
from restem.auditing.findings import BLEED_SCHEMA, Finding, findings_table
from restem.auditing.quick import described
from restem.review.found import FoundReview
from restem.review.session import ReviewSession, UnreachableError
from restem.review.sound import MadeWav, Part
from restem.runs.run import Run

PATIENCE_S = 200.0


def read(path: Path) -> np.ndarray:
    """(channel, sample)"""
    return np.asarray(soundfile.read(path, dtype="float32", always_2d=True)[0].T)


def heard(wav: MadeWav) -> np.ndarray:
    return np.asarray(soundfile.read(io.BytesIO(b"".join(wav.read(0, wav.size))), always_2d=True)[0].T)


@pytest.fixture
def audit(run: Run, tmp_path: Path) -> Audit:
    """Of the run's songs: the bass of the second one is that of the first, 1 s later; a mixture lacks the vocals."""
    root = run.dataset_root
    _, rate_hz = soundfile.read(root / "Song 1" / "bass.wav")
    # Noise has a fingerprint that nothing else shares.
    bass = 0.1 * np.random.default_rng(0).standard_normal(6 * rate_hz)
    later = np.concatenate([np.zeros(rate_hz), 0.5 * bass])[: len(bass)]
    for song, sound in (("Song 1", bass), ("Song 2", later)):
        soundfile.write(root / song / "bass.wav", sound, rate_hz)
    stems = {path.stem: soundfile.read(path)[0] for path in sorted((root / "Song 1").glob("*.wav"))}
    soundfile.write(root / "Song 1" / "mixture.wav", sum(stems.values()) - stems["vocals"], rate_hz)
    return restem.audit(root, tmp_path / "audit", workers=1)


def row_of(audit: Audit, kind: str) -> int:
    return audit.findings["kind"].to_list().index(kind)


def test_both_copies_are_heard_from_the_same_sound_on(run: Run, audit: Audit, tmp_path: Path) -> None:
    found = FoundReview(ReviewSession(run, tmp_path / "cache"), audit)
    index = row_of(audit, "duplicate")
    copy, original = (heard(found.sound(index, side)) for side in (0, 1))
    length = min(copy.shape[1], original.shape[1])
    # To within the 20 ms of a fingerprint they are one sound, one of them half as loud.
    lags = np.correlate(original[0, :length], copy[0, 800:-800][: length - 1600], "valid")
    assert np.abs(np.argmax(lags) - 800) <= 800
    assert np.sqrt(np.mean(copy**2) / np.mean(original**2)) == pytest.approx(0.5, abs=0.1)
    with pytest.raises(UnreachableError, match="no such sound"):
        found.sound(index, 2)
    with pytest.raises(UnreachableError, match="no such finding"):
        found.sides(len(audit.findings))


def test_mixture_sum_and_difference(run: Run, audit: Audit, tmp_path: Path) -> None:
    found = FoundReview(ReviewSession(run, tmp_path / "cache"), audit)
    index = row_of(audit, "mixture")
    assert [side["name"] for side in found.sides(index)] == [
        "mixture", "sum of the stems", "what the stems leave of the mixture",
    ]  # fmt: skip
    root = run.dataset_root / "Song 1"
    stems = [read(path) for path in sorted(root.glob("*.wav")) if path.stem != "mixture"]
    assert heard(found.sound(index, 0)) == pytest.approx(read(root / "mixture.wav"), abs=1e-4)
    assert heard(found.sound(index, 1)) == pytest.approx(np.clip(np.sum(stems, axis=0), -1, 1), abs=1e-4)
    assert np.abs(heard(found.sound(index, 2))).max() < 0.01


def test_bleed_is_heard_and_taken_out(run: Run, audit: Audit, tmp_path: Path) -> None:
    root, delay = run.dataset_root / "Song 3", 37
    own, source = read(root / "vocals.wav"), read(root / "drums.wav")
    late = np.concatenate([np.zeros((len(source), delay), np.float32), source], axis=1)[:, : own.shape[1]]
    _, rate_hz = soundfile.read(root / "vocals.wav")
    soundfile.write(root / "vocals.wav", (0.5 * own + 0.1 * late).T, rate_hz, subtype="FLOAT")
    finding = Finding("Song 3", "Song 3/vocals.wav", "bleed", -20.0, "dB", "", with_stem="Song 3/drums.wav")
    bleed = pl.DataFrame(
        [("Song 3", finding.stem, finding.with_stem, -20.0, delay)], schema=dict(BLEED_SCHEMA), orient="row"
    )
    found = FoundReview(
        ReviewSession(run, tmp_path / "cache"), replace(audit, findings=findings_table([finding]), bleed=bleed)
    )
    whole = found.sound(0, 2)
    assert heard(whole) == pytest.approx(0.5 * own, abs=1e-4)
    # Where the bleed came through a room, only its direct sound can be taken out.
    louder = bleed.with_columns(bleed_db=pl.lit(-17.0))
    rooms = {(finding.stem, finding.with_stem): 3.0}
    through_room = FoundReview(
        found.session, replace(audit, findings=findings_table([finding]), bleed=louder, rooms=rooms)
    )
    assert heard(through_room.sound(0, 2)) == pytest.approx(0.5 * own, abs=1e-4)
    assert through_room.sides(0)[2]["name"] == "without the direct sound of the bleed"
    # A browser asks for parts.
    content = b"".join(whole.read(0, whole.size))
    for start, stop in ((44, 60), (50, 51), (whole.size - 100, whole.size), (44 + 2 * delay - 3, 44 + 2 * delay + 3)):
        assert b"".join(whole.read(start, stop)) == content[start:stop]


def test_sounds_of_other_rates_are_not_added(tmp_path: Path) -> None:
    for rate_hz in (8000, 16000):
        soundfile.write(tmp_path / f"{rate_hz}.wav", np.zeros(100), rate_hz)
    with pytest.raises(restem.AudioError, match="differ in rate"):
        MadeWav.sum_of(tuple(Part(tmp_path / f"{rate_hz}.wav", 0) for rate_hz in (8000, 16000)))


def test_what_is_ignored_is_left_out(run: Run, audit: Audit, tmp_path: Path) -> None:
    found = FoundReview(ReviewSession(run, tmp_path / "cache"), audit)
    index = row_of(audit, "duplicate")
    assert audit.duplicate_songs() == {"Song 1": "Song 1", "Song 2": "Song 1"}
    found.judge(index, "real", "ada")
    assert audit.duplicate_songs()
    found.judge(index, "ignore", "bob")
    assert audit.duplicate_songs() == {} == restem.open_audit(audit.path).duplicate_songs()
    assert (found.table()["judged"][index], found.table()["person"][index]) == ("ignore", "bob")
    page = restem.report(run, tmp_path / "report.html", audit=audit).read_text()
    assert "What else was found" in page and "<td>ignore</td>" in page
    found.judge(index, "", "bob")
    assert found.table()["judged"][index] == "" and audit.duplicate_songs()
    with pytest.raises(restem.UsageError, match="`real`, `ignore`"):
        found.judge(index, "perhaps", "bob")


def test_a_run_without_an_audit_shows_what_its_refinement_found(run: Run, tmp_path: Path) -> None:
    one = Finding("Song 1", "Song 1/bass.wav", "dc", 0.1, "1", "the samples are off zero")
    kept = replace(run, description={**run.description, "findings": described([one])})
    found = FoundReview(ReviewSession(kept, tmp_path / "cache"), None)
    assert found.table()["message"] == [one.message] and len(found.sides(0)) == 1
    with pytest.raises(restem.UsageError, match="kept with an audit"):
        found.judge(0, "real", "ada")


def wait_until(page: Any, expression: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(30)


def test_the_page_of_findings(run: Run, audit: Audit, serve: Callable, chromium: Any) -> None:
    served = serve(run.path, audit=audit.path)
    context = chromium.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE_S)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(served.address)
    page.wait_for_selector("html[data-ready]")
    page.locator("#to-findings").click()
    page.wait_for_selector("html[data-ready] #sides button")
    assert page.locator("#rows .row").count() == len(audit.findings)
    page.select_option("#kind", "duplicate")
    page.locator("#rows .row").first.click()
    index = row_of(audit, "duplicate")
    wait_until(page, f"document.body.dataset.finding === '{index}'")
    names = page.locator("#sides b").all_text_contents()
    assert names == ["Song 2/bass.wav", "Song 1/bass.wav"]
    page.keyboard.press("Space")
    wait_until(page, "parseFloat(document.querySelector('#position').value) > 0.1")
    page.keyboard.press("2")
    assert page.locator("#sides [aria-checked=true] b").all_text_contents() == names[1:]
    page.keyboard.press("i")
    wait_until(page, "document.querySelector('#ignore').ariaPressed === 'true'")
    assert audit.duplicate_songs() == {}
    page.locator("#ignore").click()
    wait_until(page, "document.querySelector('#ignore').ariaPressed === 'false'")
    assert audit.duplicate_songs()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert errors == []
    status, _, content = served.ask(f"/api/findings/{index}", "POST", {"judged": "perhaps"})
    assert status == 422 and "real" in json.loads(content)["error"]
    context.close()

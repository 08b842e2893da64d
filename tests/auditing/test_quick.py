"""What a refinement finds by itself: planted damage and equal stems, and nothing in sound stems."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import restem
from restem.audio.store import Store
from restem.auditing.quick import count_kinds, described, findings_in
from restem.executing.processes import Processes
from restem.labelling.features import load_features
from restem.labelling.refining import findings

Play = Callable[..., np.ndarray]

RATE_HZ = 16000


@pytest.fixture
def damaged(tmp_path: Path, play_notes: Play) -> Path:
    root = tmp_path / "stems"
    for song in (1, 2):
        stems = {name: play_notes(10 * song + place) for place, name in enumerate(("vocals", "drums", "bass", "other"))}
        if song == 2:
            limit = 0.3 * np.abs(stems["vocals"]).max()
            stems["vocals"] = np.clip(stems["vocals"], -limit, limit)
            stems["drums"] = stems["drums"][: -2 * RATE_HZ]
            stems["bass"] = stems["bass"] + 0.02
            stems["other"] = play_notes(10 + 3)
        for name, sound in stems.items():
            path = root / f"Song {song}" / f"{name}.{'flac' if song == 2 else 'wav'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.round(32767 * sound).astype(np.int16), RATE_HZ)  # the same samples in any format
    return root


def test_planted_damage_and_equal_stems_are_found(damaged: Path, tmp_path: Path) -> None:
    found = [
        findings(
            load_features(restem.open_dataset(damaged), Store(cache), 3.0, 1.0, Processes(workers), looks=True),
            lambda *_: None,
        )
        for workers, cache in ((1, tmp_path / "cache"), (2, tmp_path / "cache"), (2, tmp_path / "empty"))
    ]
    assert found[2] == found[0]
    assert found[0] == found[1]
    assert [(one.stem, one.kind, one.with_stem) for one in found[0]] == [
        ("Song 2/bass.flac", "dc", ""),
        ("Song 2/drums.flac", "short", ""),
        ("Song 2/other.flac", "duplicate", "Song 1/other.wav"),
        ("Song 2/vocals.flac", "clipped", ""),
    ]
    assert count_kinds(found[0]) == {"duplicate": 1, "short": 1, "clipped": 1, "dc": 1}
    assert findings_in(json.loads(json.dumps({"findings": described(found[0])}))) == found[0]

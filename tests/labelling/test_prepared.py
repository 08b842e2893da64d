"""Stems are prepared once; what is known of them is kept, and used as long as it holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from restem.audio.entries import HEADER_BYTES, Source
from restem.audio.mel import MelSettings
from restem.audio.store import Store
from restem.errors import AudioError
from restem.executing.processes import IN_THIS_PROCESS
from restem.labelling import prepared
from restem.labelling.prepared import prepare_stems, stored_stems
from restem.labelling.segments import joined_segments, lay_segments

RATE_HZ = 8000
LENGTH, HOP = 50, 25


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", MelSettings(bands=8, high_hz=3800.0))


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """Three stems of different lengths, one of them silent, and a file that is no sound."""
    rng = np.random.default_rng(0)
    found = []
    for number, seconds in enumerate((2.0, 0.5, 3.3)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, 0.1 * (number != 1) * rng.standard_normal(round(seconds * RATE_HZ)), RATE_HZ)
        found.append((path, 0))
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    return [*found, (tmp_path / "broken.wav", 0)]


def test_segments_are_those_of_the_features(store: Store, sources: list[Source]) -> None:
    stems, failures = prepare_stems(sources, store, LENGTH, HOP, IN_THIS_PROCESS)
    assert sorted(stems) == [0, 1, 2] and list(failures) == [3]
    entries = [store.require(source) for source in sources[:3]]
    expected = lay_segments(entries, LENGTH, HOP)
    found = joined_segments([stems[index].laid for index in range(3)], LENGTH, HOP)
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(vars(found)[name], values)
    for rows, entry in zip(stored_stems(store, [stems[index] for index in range(3)]), entries, strict=True):
        np.testing.assert_array_equal(rows[:], entry.rows[:])


def test_the_table_is_read_in_place_of_the_entries(
    store: Store, sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "stems.npz"
    noise = 0.01 * np.random.default_rng(1).standard_normal(2 * RATE_HZ)
    soundfile.write(sources[0][0], 0.1 + noise, RATE_HZ)  # off zero
    first = prepare_stems(sources, store, LENGTH, HOP, IN_THIS_PROCESS, table=table, looks=True)
    assert "dc" in [one.kind for one in first[0][0].damage] and first[0][1].damage == ()
    asked: list[Source] = []
    original = Store.ensure
    monkeypatch.setattr(
        Store, "ensure", lambda self, source, *more: asked.append(source) or original(self, source, *more)
    )
    monkeypatch.setattr(prepared, "look", lambda *_: pytest.fail("looked at again"))
    again = prepare_stems(sources, store, LENGTH, HOP, IN_THIS_PROCESS, table=table, looks=True)
    assert asked == sources[3:]  # what failed is tried again
    assert again[1] == first[1]
    for index, stem in first[0].items():
        other = again[0][index]
        assert (other.key, other.seconds, other.note) == (stem.key, stem.seconds, stem.note)
        assert other.damage == stem.damage
        for name, values in vars(stem.laid).items():
            np.testing.assert_array_equal(vars(other.laid)[name], values)


@pytest.mark.parametrize("harm", ["entry removed", "entry cut off", "table cut off", "another grid"])
def test_what_no_longer_holds_is_made_again(store: Store, sources: list[Source], tmp_path: Path, harm: str) -> None:
    table = tmp_path / "stems.npz"
    prepare_stems(sources, store, LENGTH, HOP, IN_THIS_PROCESS, table=table)
    entry = store.entry(sources[2])
    whole = entry.read_bytes()
    if harm == "entry removed":
        entry.unlink()
    elif harm == "entry cut off":
        entry.write_bytes(whole[: HEADER_BYTES + 100])
    elif harm == "table cut off":
        table.write_bytes(table.read_bytes()[:-300])
    hop = HOP + 1 if harm == "another grid" else HOP
    stems, _ = prepare_stems(sources, store, LENGTH, hop, IN_THIS_PROCESS, table=table)
    assert entry.read_bytes() == whole
    expected = lay_segments([store.require(source) for source in sources[:3]], LENGTH, hop)
    found = joined_segments([stems[index].laid for index in range(3)], LENGTH, hop)
    np.testing.assert_array_equal(found.start, expected.start)
    np.testing.assert_array_equal(found.level_db, expected.level_db)
    assert sorted(prepared._read(table, prepared._grid(store, LENGTH, hop, 4, False))) == [0, 1, 2]


def test_entries_of_earlier_versions_have_no_sums(store: Store, sources: list[Source]) -> None:
    store.compute(sources[0])
    new = store.require(sources[0])
    sums, power = new.frame_power(), new.power()
    entry = store.entry(sources[0])
    content = entry.read_bytes()
    header = content[:HEADER_BYTES].replace(b'"sums": true', b'"sums": false')[:HEADER_BYTES]
    entry.write_bytes(header + content[HEADER_BYTES : HEADER_BYTES + 2 * power.size])
    old = store.require(sources[0])
    assert new.sums is not None and old.sums is None
    np.testing.assert_array_equal(old.frame_power(), sums)
    np.testing.assert_array_equal(power.sum(axis=1), sums)


def test_a_stem_that_cannot_be_looked_at_has_failed(
    store: Store, sources: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Source, *_: object) -> None:
        raise AudioError(f"{source[0]}: cannot seek.")

    monkeypatch.setattr(prepared, "look", fail)
    stems, failures = prepare_stems(sources, store, LENGTH, HOP, IN_THIS_PROCESS, looks=True)
    assert list(stems) == [1]  # the silent one is not looked at
    assert failures[0] == f"{sources[0][0]}: cannot seek." and sorted(failures) == [0, 2, 3]

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restem.dataset.noise import KINDS, STRETCH_S, plan_noise
from restem.dataset.table import Dataset, Stem
from restem.errors import DatasetError, UsageError
from restem.taxonomy import DEFAULT_CLASSES, Taxonomy

SONGS = st.dictionaries(
    st.text(min_size=1, max_size=5), st.sets(st.sampled_from(DEFAULT_CLASSES), min_size=1), min_size=1, max_size=6
)


def dataset(songs: dict[str, set[str]] | int) -> Dataset:
    if isinstance(songs, int):
        songs = {f"s{n}": set(DEFAULT_CLASSES) for n in range(songs)}
    stems = [Stem(song, f"{song}/{name}.wav", frozenset({name})) for song in songs for name in sorted(songs[song])]
    return Dataset(Path("/none"), "songs", Taxonomy(), tuple(stems))


@given(SONGS, st.sampled_from(KINDS), st.floats(0, 1), st.integers(0, 9))
def test_every_source_is_heard_in_its_song(songs: dict[str, set[str]], kind: str, rate: float, seed: int) -> None:
    clean = dataset(songs)
    plan = plan_noise(clean, kind, rate, seed)
    assert plan == plan_noise(clean, kind, rate, seed)
    for song, stems in plan.items():
        whole = Counter(p.source for s in stems for p in s.parts if p.stretch is None and p.gain == 1.0)
        assert whole == Counter(stem for stem in clean.stems if stem.song == song)
        assert len({stem.name for stem in stems}) == len(stems)
        assert all(stem.parts and stem.song == song for stem in stems)
        if kind != "swap":
            assert {stem.given for stem in stems} <= songs[song]


@pytest.mark.parametrize("kind", ["regroup", "swap", "partial"])
def test_the_rate_is_a_share_and_raising_it_adds(kind: str) -> None:
    clean = dataset(500)

    def wrong(rate: float) -> set[Stem]:
        return {
            part.source
            for stems in plan_noise(clean, kind, rate, 0).values()
            for stem in stems
            for part in stem.parts
            if part.source.given != {stem.given}
        }

    assert wrong(0.0) == set()
    assert len(wrong(1.0)) == 2000
    assert len(wrong(0.2)) == pytest.approx(400, abs=55)  # 3 standard deviations
    assert wrong(0.2) < wrong(0.5)


def test_a_song_does_not_depend_on_the_others() -> None:
    many, one = (
        plan_noise(dataset(20), "regroup", 0.5, 3),
        plan_noise(dataset({"s7": set(DEFAULT_CLASSES)}), "regroup", 0.5, 3),
    )
    assert many["s7"] == one["s7"]
    assert plan_noise(dataset(20), "regroup", 0.5, 4) != many


def test_regroup_moves_uniformly_within_the_song() -> None:
    plan = plan_noise(dataset(900), "regroup", 1.0, 0)
    heard = Counter(
        (next(iter(p.source.given)), s.given) for stems in plan.values() for s in stems for p in stems and s.parts
    )
    assert set(heard) == {(a, b) for a in DEFAULT_CLASSES for b in DEFAULT_CLASSES if a != b}
    assert all(count == pytest.approx(300, abs=60) for count in heard.values())


def test_several_files_of_a_class_are_several_sources() -> None:
    stems = [
        Stem("a", f"a/{f}", frozenset({c}))
        for f, c in (("vocals.wav", "vocals"), ("vox.wav", "vocals"), ("bass.wav", "bass"))
    ]
    clean = Dataset(Path("/none"), "songs", Taxonomy(), tuple(stems))
    (vocals, bass) = plan_noise(clean, "bleed", 0.0, 0)["a"]
    assert [part.counts for part in vocals.parts] == [True, True, False]
    assert [part.gain for part in bass.parts] == [1.0, pytest.approx(0.1), pytest.approx(0.1)]
    named = plan_noise(clean, "swap", 0.0, 0)["a"]
    assert sorted(stem.name for stem in named) == ["bass", "vocals", "vocals_2"]


def test_the_second_of_a_class_is_not_always_the_wrong_one() -> None:
    plan = plan_noise(dataset(200), "swap", 0.4, 0)
    second = [s.parts[0].source.given == {s.given} for stems in plan.values() for s in stems if s.name.endswith("_2")]
    assert 0.2 < sum(second) / len(second) < 0.8


def test_stretches_are_two_to_six_seconds() -> None:
    plan = plan_noise(dataset(50), "partial", 0.5, 0)
    stretches = [p.stretch for stems in plan.values() for s in stems for p in s.parts if p.stretch]
    assert stretches
    assert all(STRETCH_S[0] <= s.length_s <= STRETCH_S[1] and 0 <= s.position < 1 for s in stretches)


def test_a_song_of_one_class_stays_right() -> None:
    for kind in ("regroup", "partial", "bleed"):
        (stem,) = plan_noise(dataset({"a": {"bass"}}), kind, 1.0, 0)["a"]
        assert (stem.given, len(stem.parts)) == ("bass", 1)


@pytest.mark.parametrize("kind", KINDS)
def test_only_some_classes_are_confused(kind: str) -> None:
    plan = plan_noise(dataset(50), kind, 0.9, 0, among=("bass", "other"))
    found = {
        (next(iter(part.source.given)), stem.given)
        for stems in plan.values()
        for stem in stems
        for part in stem.parts
        if part.source.given != {stem.given}
    }
    assert found == {("bass", "other"), ("other", "bass")}


def test_which_classes_can_be_confused() -> None:
    with pytest.raises(UsageError, match="no class 'flute' to confuse; use some of vocals, drums"):
        plan_noise(dataset(1), "swap", 0.1, 0, among=("bass", "flute"))
    with pytest.raises(UsageError, match="cannot be confused with itself"):
        plan_noise(dataset(1), "swap", 0.1, 0, among=("bass", "bass"))


def test_refusals() -> None:
    with pytest.raises(UsageError, match="no kind of noise 'hiss'; use one of regroup"):
        plan_noise(dataset(1), "hiss", 0.1, 0)
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="is not a probability"):
            plan_noise(dataset(1), "swap", rate, 0)
    with pytest.raises(UsageError, match="negative"):
        plan_noise(dataset(1), "swap", 0.1, -1)
    with pytest.raises(UsageError, match="level"):
        plan_noise(dataset(1), "bleed", 0.1, 0, level_db=3.0)
    clean = dataset(1)
    for labels, says in ((frozenset({"bass", "drums"}), "drums\\+bass"), (frozenset[str](), "nothing")):
        with pytest.raises(DatasetError, match=f"is labelled {says}; corrupting needs clean stems"):
            plan_noise(clean.with_labels({"s0/bass.wav": labels}), "swap", 0.1, 0)

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from restem.audio.pcm import PcmStore
from restem.dataset.table import Dataset
from restem.errors import DatasetError, RestemError
from restem.runs.run import Run, write_run
from restem.separation.remixing import Remixer, RemixSettings
from restem.separation.training_stems import (
    find_places,
    split_validation,
    training_stems_of_dataset,
    training_stems_of_run,
)

RATE_HZ = 8000


@pytest.fixture
def store(songs: Dataset, tmp_path: Path) -> PcmStore:
    store = PcmStore(tmp_path / "cache", RATE_HZ, 2)
    store.fill([stem.source for stem in training_stems_of_dataset(songs)])
    return store


def make_run(
    songs: Dataset,
    out: Path,
    verdicts: list[str],
    refined: list[str],
    scores: list[list[float]],
    of_stem: tuple[float, ...] = (0.5,) * 4,
) -> Run:
    """A run over the stems of the first song; scores: of the four classes, in four segments of one second."""
    stems = songs.stems[: len(verdicts)]
    classes = songs.taxonomy.classes
    labels = pl.DataFrame(
        {
            "song": [stem.song for stem in stems], "stem": [stem.name for stem in stems],
            "given": [songs.taxonomy.format(stem.given) for stem in stems], "refined": refined, "verdict": verdicts,
            "quality": 0.5, **dict.fromkeys(classes, 0.5), "seconds": 4.0, "active_seconds": 4.0,
        }
    ).with_columns(pl.lit(score).alias(name) for name, score in zip(classes, of_stem, strict=True))  # fmt: skip
    segments = pl.DataFrame(
        [
            {
                "song": stem.song, "stem": stem.name, "start_s": float(second), "end_s": second + 1.0,
                "level_db": -20.0,
                **dict(zip(classes, scores[second], strict=True)),
            }
            for stem in stems
            for second in range(4)
        ]
    )  # fmt: skip
    dataset = {"root": str(songs.root), "classes": list(classes), "aliases": {}, "fingerprint": "f"}
    return write_run(out, songs.taxonomy, labels, segments, {"dataset": dataset})


class TestRun:
    def test_only_what_is_sure_teaches(self, songs: Dataset, tmp_path: Path) -> None:
        scores = [[0.9, 0.0, 0.9, 0.0]] * 4
        # The stems are bass, drums, other and vocals of the first song.
        run = make_run(songs, tmp_path / "run", ["kept", "unsure", "silent", "failed"], ["bass"] * 4, scores)
        assert [stem.name for stem in training_stems_of_run(run)] == ["song0/bass.wav"]
        assert [stem.name for stem in training_stems_of_run(run, unsure=True)] == [
            "song0/bass.wav",
            "song0/drums.wav",
        ]
        gone = replace(run, description={"dataset": {"root": str(tmp_path / "gone")}})
        with pytest.raises(DatasetError, match="bring it back"):
            training_stems_of_run(gone)

    def test_sets_over_time(self, songs: Dataset, store: PcmStore, tmp_path: Path) -> None:
        """Named `vocals+bass`: bass is ruled out in the first seconds, drums cannot be in the last."""
        scores = [[0.9, 0.1, 0.01, 0.0], [0.9, 0.1, 0.01, 0.0], [0.9, 0.1, 0.2, 0.0], [0.9, 0.6, 0.2, 0.0]]
        run = make_run(songs, tmp_path / "run", ["changed"], ["vocals+bass"], scores)
        places = find_places(training_stems_of_run(run), store, 0.5)
        found = {
            step: songs.taxonomy.format(songs.taxonomy.from_flags(row))
            for step, row in zip(places.step.tolist(), places.labels.tolist(), strict=True)
        }
        # A place touches the segments of a second from its start on: half a second, and half of the grid.
        assert found == {
            0: "vocals", 1: "vocals", 2: "vocals", 3: "vocals+bass", 4: "vocals+bass",
            5: "vocals+drums+bass", 6: "vocals+drums+bass", 7: "vocals+drums+bass",
        }  # fmt: skip

    def test_what_the_stem_cannot_hold_is_nowhere(self, songs: Dataset, store: PcmStore, tmp_path: Path) -> None:
        """Drums score high in every segment, but not in the stem as a whole; so does bass, which is named."""
        of_stem = (0.9, 0.05, 0.05, 0.2)
        run = make_run(songs, tmp_path / "run", ["kept"], ["vocals+bass"], [[0.9, 0.9, 0.9, 0.9]] * 4, of_stem)
        labels = find_places(training_stems_of_run(run), store, 0.5).labels
        assert {songs.taxonomy.format(songs.taxonomy.from_flags(row)) for row in labels.tolist()} == {
            "vocals+bass+other"
        }

    def test_what_may_be_everything_teaches_nothing(self, songs: Dataset, store: PcmStore, tmp_path: Path) -> None:
        run = make_run(songs, tmp_path / "run", ["kept"], ["bass"], [[0.5] * 4] * 4)
        assert len(find_places(training_stems_of_run(run), store, 0.5)) == 0


class TestDoubt:
    """How likely the label sets of places are right, and that places are drawn accordingly."""

    def test_a_set_is_wrong_if_a_class_beside_it_sounds(self, songs: Dataset, store: PcmStore, tmp_path: Path) -> None:
        scores = [[0.9, 0.3, 0.05, 0.0], [0.9, 0.3, 0.05, 0.0], [0.9, 0.0, 0.0, 0.0], [0.9, 0.6, 0.0, 0.0]]
        # Bass has 0.02 in the stem as a whole, so it is no likelier than that anywhere in it.
        run = make_run(songs, tmp_path / "run", ["kept"], ["vocals"], scores, (0.9, 0.5, 0.02, 0.0))
        places = find_places(training_stems_of_run(run), store, 0.5)
        right = dict(zip(places.step.tolist(), places.right.tolist(), strict=True))
        assert right[0] == pytest.approx(0.7 * 0.98) and right[4] == pytest.approx(1.0)
        # Drums are in the set of the last second, so that only what else there may be counts.
        assert right[7] == pytest.approx(1.0)

    def test_unsure_stems_are_weighed(self, songs: Dataset, store: PcmStore, tmp_path: Path) -> None:
        scores = [[0.6, 0.3, 0.05, 0.0]] * 4
        run = make_run(songs, tmp_path / "run", ["unsure"], ["vocals"], scores, (0.6, 0.3, 0.05, 0.0))
        assert training_stems_of_run(run) == []
        places = find_places(training_stems_of_run(run, weigh=True), store, 0.5)
        # Of what is in doubt all is in the set: vocals and drums.
        assert places.labels.tolist() == [[True, True, False, False]] * len(places)
        assert places.right.tolist() == pytest.approx([0.95] * len(places))

    def test_given_labels_are_not_in_doubt(self, songs: Dataset, store: PcmStore) -> None:
        assert (find_places(training_stems_of_dataset(songs), store, 0.5).right == 1.0).all()

    def test_places_are_drawn_as_often_as_they_are_right(
        self, songs: Dataset, store: PcmStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stems = training_stems_of_dataset(songs)
        places = find_places(stems, store, 0.5)
        vocals = [index for index, stem in enumerate(stems) if "vocals" in stem.name]
        doubtful, first = places.stem == vocals[0], places.step == places.step.min()
        places = replace(places, right=np.where(doubtful, 0.2, np.where(first, 0.5, 1.0)))
        remixer = Remixer(stems, places, store, 0.5, RemixSettings(weigh=True, gain_db=0.0), 0)
        drawn: list[int] = []
        sound = remixer._sound

        def noting(parts: list[tuple[int, float]]) -> np.ndarray:
            drawn.extend(place for place, _ in parts)
            return sound(parts)

        monkeypatch.setattr(remixer, "_sound", noting)
        remixer.batch(0, 0, 3000)
        counts = np.bincount(places.stem[drawn], minlength=len(stems))[vocals]
        assert counts[0] / counts[1:].mean() == pytest.approx(0.2, abs=0.05)
        sure = np.array([place for place in drawn if not doubtful[place]])
        of_each = np.bincount(places.stem)[vocals[1]]
        assert float(first[sure].mean()) == pytest.approx(0.5 / (of_each - 0.5), rel=0.15)


class TestPlaces:
    def test_silence_is_avoided(self, tmp_path: Path, songs: Dataset) -> None:
        path = songs.root / "song0" / "bass.wav"
        sound = np.zeros((10 * RATE_HZ, 2))
        sound[4 * RATE_HZ : 6 * RATE_HZ] = 0.1
        soundfile.write(path, sound, RATE_HZ)
        stem = next(one for one in training_stems_of_dataset(songs) if one.name == "song0/bass.wav")
        store = PcmStore(tmp_path / "cache", RATE_HZ, 2)
        store.fill([stem.source])
        starts = 0.5 * find_places([stem], store, 1.0).step
        assert starts.min() == 3.5 and starts.max() == 5.5
        # In an example of 20 s the stem sounds for a tenth: then the best place has to do.
        assert len(find_places([stem], store, 20.0)) == 1

    def test_folded_out_by_song(self, songs: Dataset) -> None:
        stems = training_stems_of_dataset(songs)
        learned, checked = split_validation(stems, 0.3, 0)
        assert len({stem.song for stem in checked}) == 2 and len(learned) + len(checked) == 24
        assert not {stem.song for stem in learned} & {stem.song for stem in checked}
        assert split_validation(stems, 0.0, 0) == (stems, [])
        assert split_validation(stems[:4], 0.5, 0)[1] == []

    def test_validation_follows_the_split_or_musdb18(self, songs: Dataset) -> None:
        stems = training_stems_of_dataset(songs)
        first = stems[0].song
        split = [replace(stem, split="valid" if stem.song == first else "train") for stem in stems]
        assert {stem.song for stem in split_validation(split, 0.3, 0)[1]} == {first}
        assert split_validation(split, 0.0, 0) == (split, [])
        known = [replace(stem, song="x/Leaf - Summerghost" if stem.song == first else stem.song) for stem in stems]
        assert {stem.song for stem in split_validation(known, 0.3, 0)[1]} == {"x/Leaf - Summerghost"}

    def test_songs_that_share_a_recording_stay_on_one_side(self, songs: Dataset) -> None:
        stems = training_stems_of_dataset(songs)
        names = sorted({stem.song for stem in stems})
        alone, pair = dict(zip(names, names, strict=True)), {names[0]: names[0], names[-1]: names[0]}
        seen = set()
        for seed in range(8):
            assert split_validation(stems, 0.3, seed, alone) == split_validation(stems, 0.3, seed)
            learned, checked = split_validation(stems, 0.3, seed, pair)
            kept = {stem.song for stem in checked}
            assert len(kept) == 2 and not kept & {stem.song for stem in learned}
            assert len(kept & pair.keys()) in (0, 2)
            seen.add(len(kept & pair.keys()))
        assert seen == {0, 2}
        # Groups that are larger than the share: the smallest one. One group: nothing to validate on.
        two = {name: names[int(place > 1)] for place, name in enumerate(names)}
        assert {stem.song for stem in split_validation(stems, 0.1, 0, two)[1]} == set(names[:2])
        assert split_validation(stems, 0.3, 0, dict.fromkeys(names, names[0])) == (stems, [])
        split = [replace(stem, split="valid" if stem.song == names[0] else "train") for stem in stems]
        assert {stem.song for stem in split_validation(split, 0.3, 0, pair)[1]} == pair.keys()


class TestRemixer:
    def make(self, songs: Dataset, store: PcmStore, **settings: float) -> Remixer:
        stems = training_stems_of_dataset(songs)
        return Remixer(stems, find_places(stems, store, 1.0), store, 1.0, RemixSettings(**settings), 3)

    def test_a_function_of_seed_epoch_and_index(self, songs: Dataset, store: PcmStore) -> None:
        remixer = self.make(songs, store)
        batch = remixer.batch(1, 4, 4)
        for row in range(4):
            one = self.make(songs, store).batch(1, 4 + row, 1)
            assert (one.targets[0] == batch.targets[row]).all() and (one.groups[0] == batch.groups[row]).all()
        assert not np.array_equal(remixer.batch(2, 4, 4).targets, batch.targets)

    def test_every_class_is_in_one_group(self, songs: Dataset, store: PcmStore) -> None:
        two = songs.taxonomy.parse("vocals+bass")
        songs = songs.with_labels(
            {stem.name: two for stem in songs.stems if "bass" in stem.path or "vocals" in stem.path}
        )
        for coherent in (0.0, 1.0):
            batch = self.make(songs, store, coherent=coherent).batch(0, 0, 8)
            assert (batch.groups.sum(axis=1) == 1).all()
            assert {3} == set((batch.groups.max(axis=2) > 0).sum(axis=1).tolist())
            assert (np.abs(batch.targets).max(axis=(2, 3)) > 0).sum(axis=1).tolist() == [3] * 8

    def test_a_class_nobody_has_is_a_silent_group(self, songs: Dataset, store: PcmStore) -> None:
        songs = replace(songs, stems=tuple(stem for stem in songs.stems if "other" not in stem.path))
        batch = self.make(songs, store).batch(0, 0, 4)
        silent = batch.groups[:, :, 3].argmax(axis=1)
        assert (batch.groups.sum(axis=1) == 1).all()
        assert all((batch.targets[row, slot] == 0).all() for row, slot in enumerate(silent))

    def test_coherent_examples_come_from_one_song_at_one_time(self, songs: Dataset, tmp_path: Path) -> None:
        """Every stem of a song says which song it is, and what time: by its value."""
        for stem in songs.stems:
            value = 0.1 * (1 + songs.songs.index(stem.song)) + 0.01 * np.arange(4 * RATE_HZ) / RATE_HZ
            soundfile.write(songs.file(stem), np.stack([value, value], axis=1), RATE_HZ, subtype="FLOAT")
        store = PcmStore(tmp_path / "cache", RATE_HZ, 2)
        store.fill([stem.source for stem in training_stems_of_dataset(songs)])
        targets = self.make(songs, store, coherent=1.0, gain_db=0.0).batch(0, 0, 8).targets
        assert np.allclose(np.abs(targets), np.abs(targets[:, :1]), atol=1e-6)
        assert len(set(np.abs(targets[:, 0, 0, 0]).round(4).tolist())) > 3
        apart = self.make(songs, store, coherent=0.0, gain_db=0.0).batch(0, 0, 8).targets
        assert not np.allclose(np.abs(apart), np.abs(apart[:, :1]), atol=1e-2)

    def test_rare_sets_are_drawn_rarely(self, songs: Dataset, store: PcmStore) -> None:
        """A vocal that may hold bass at one place of ten is drawn with it in few examples, not in half of them."""
        stems = [one for one in training_stems_of_dataset(songs) if one.song == "song0"]
        vocals = next(index for index, one in enumerate(stems) if "vocals" in one.name)
        places = find_places(stems, store, 1.0)
        step = np.arange(10)
        labels = np.tile(stems[vocals].labels, (10, 1))
        labels[0, songs.taxonomy.classes.index("bass")] = True
        others = places.stem != vocals
        places = type(places)(
            np.concatenate([places.stem[others], np.full(10, vocals)]),
            np.concatenate([places.step[others], step]),
            np.concatenate([places.labels[others], labels]),
            np.ones(others.sum() + 10),
        )
        groups = Remixer(stems, places, store, 1.0, RemixSettings(), 3).batch(0, 0, 400).groups
        share = (groups.sum(axis=2).max(axis=1) == 2).mean()
        # Whether vocals or bass are drawn first, it weighs 0.1 / 2^2 against about 1.
        assert 0.01 < share < 0.06

    def test_nothing_to_learn_from(self, songs: Dataset, store: PcmStore) -> None:
        stems = training_stems_of_dataset(songs)[:1]
        places = find_places(stems, store, 1.0)
        empty = type(places)(places.stem[:0], places.step[:0], places.labels[:0], places.right[:0])
        with pytest.raises(RestemError, match="nothing to learn from"):
            Remixer(stems, empty, store, 1.0, RemixSettings(), 0)

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from restem.dataset import corrupt as corrupt_module
from restem.dataset.corrupt import corrupt, failures_and_notes
from restem.dataset.layouts import open_dataset
from restem.dataset.truth import read_truth
from restem.errors import AudioError, DatasetError, RunError, UsageError
from restem.taxonomy import Taxonomy

RATE_HZ = 8000
CLASSES = ("vocals", "drums", "bass", "other")


def mixture(folder: Path) -> np.ndarray:
    """The sum of a song's files, in double precision, by soundfile alone."""
    sounds = [soundfile.read(path, dtype="float64", always_2d=True)[0] for path in sorted(folder.glob("*.flac"))]
    total = np.zeros((max(map(len, sounds)), max(sound.shape[1] for sound in sounds)))
    for sound in sounds:
        total[: len(sound)] += sound
    return total


def audible(path: Path) -> set[str]:
    """The classes whose tone is in a file, by its spectrum; the tones are those of `write_songs`, song 1."""
    sound = soundfile.read(path, always_2d=True)[0].mean(axis=1)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    tones = {"vocals": 440.0, "drums": 1500.0, "bass": 80.0, "other": 700.0}
    return {n for n, hz in tones.items() if spectrum[round(hz * len(sound) / RATE_HZ)] > 0.2 * spectrum.max()}


def true_sets(out: Path) -> dict[str, set[str]]:
    truth = read_truth(out / "truth.csv", Taxonomy())
    return {stem: set(filter(None, true.split("+"))) for stem, true in zip(truth["stem"], truth["true"], strict=True)}


def test_regroup_keeps_every_mixture_and_tells_the_truth(tmp_path: Path, write_songs, snapshot) -> None:
    source = write_songs(tmp_path / "clean", songs=6, channels={"bass": 1})
    before = snapshot(source)
    out = corrupt(open_dataset(source), tmp_path / "out", kind="regroup", rate=0.5, seed=1)
    assert snapshot(source) == before
    truth = read_truth(out / "truth.csv", Taxonomy())
    assert (truth["given"] != truth["true"]).any()
    for song in open_dataset(source).songs:
        np.testing.assert_allclose(mixture(out / song), mixture(source / song), atol=1e-6, rtol=0)
        sets = [row.split("+") for row in truth.filter(pl.col("song") == song)["true"]]
        assert sorted(name for labels in sets for name in labels) == sorted(CLASSES)
    assert json.loads((out / "corrupt.json").read_text())["gains"] == {}
    noisy = open_dataset(out)
    assert [stem.name for stem in noisy.stems] == sorted(truth["stem"])
    assert {stem.name: noisy.taxonomy.format(stem.given) for stem in noisy.stems} == dict(
        zip(truth["stem"], truth["given"], strict=True)
    )


def test_what_is_true_is_heard(tmp_path: Path, write_songs) -> None:
    source = write_songs(tmp_path / "clean", songs=1)
    for kind in ("regroup", "swap"):
        for seed in range(4):
            out = corrupt(open_dataset(source), tmp_path / f"{kind}{seed}", kind=kind, rate=0.6, seed=seed)
            for stem, true in true_sets(out).items():
                assert audible(out / stem) == true


def test_bleed_is_at_its_level_and_is_no_label(tmp_path: Path, write_songs) -> None:
    source = write_songs(tmp_path / "clean", songs=1)
    out = corrupt(open_dataset(source), tmp_path / "out", kind="bleed", rate=0.0, level_db=-6.0)
    sounds = {name: soundfile.read(source / f"Song 1/{name}.flac")[0] for name in CLASSES}
    for name in CLASSES:
        others = sum(sounds[other] for other in CLASSES if other != name)
        read = soundfile.read(out / f"Song 1/{name}.flac")[0]
        np.testing.assert_allclose(read, sounds[name] + 10 ** (-6 / 20) * others, atol=1e-6)
    assert true_sets(out) == {f"Song 1/{name}.flac": {name} for name in CLASSES}


def test_partial_is_heard_in_its_stretch_only(tmp_path: Path) -> None:
    folder = tmp_path / "clean/a"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    sounds = {}
    for number, name in enumerate(CLASSES):
        # Each source sounds in 8 of 24 seconds, silence around: the stretch must be found there.
        sounds[name] = np.zeros(24 * RATE_HZ)
        active = slice((3 + 4 * number) * RATE_HZ, (11 + 4 * number) * RATE_HZ)
        sounds[name][active] = 0.05 * rng.standard_normal(8 * RATE_HZ)
        soundfile.write(folder / f"{name}.flac", sounds[name], RATE_HZ, subtype="PCM_24")
        sounds[name] = soundfile.read(folder / f"{name}.flac")[0]
    out = corrupt(open_dataset(tmp_path / "clean"), tmp_path / "out", kind="partial", rate=1.0, seed=0)
    stretches = pl.read_csv(out / "truth_segments.csv")
    assert stretches.columns == ["song", "stem", "class", "start_s", "end_s"]
    assert len(stretches) == 4
    expected = {name: {name} for name in CLASSES}
    residual = {name: soundfile.read(out / f"a/{name}.flac")[0] - sounds[name] for name in CLASSES}
    for row in stretches.iter_rows(named=True):
        given = Path(row["stem"]).stem
        expected[given].add(row["class"])
        first, last = round(row["start_s"] * RATE_HZ), round(row["end_s"] * RATE_HZ)
        assert 2.0 <= row["end_s"] - row["start_s"] <= 6.0
        heard = sounds[row["class"]][first:last]
        assert (
            np.mean(heard.reshape(-1)[: len(heard) // 800 * 800].reshape(-1, 800) ** 2, axis=1).astype(bool).mean()
            > 0.85
        )
        fade = RATE_HZ // 100 + 1
        np.testing.assert_allclose(residual[given][first + fade : last - fade], heard[fade:-fade], atol=1e-6)
        residual[given][first:last] = 0.0
    for name in CLASSES:
        assert np.abs(residual[name]).max() < 1e-6
    assert true_sets(out) == {f"a/{name}.flac": labels for name, labels in expected.items()}


def test_sums_that_would_clip_scale_the_whole_song(tmp_path: Path, write_songs) -> None:
    source = write_songs(tmp_path / "clean", songs=2, amplitude=0.5)
    for path in (source / "Song 2").iterdir():
        soundfile.write(path, 0.1 * soundfile.read(path)[0], RATE_HZ)
    out = corrupt(open_dataset(source), tmp_path / "out", kind="bleed", rate=0.0, level_db=0.0)
    gains = json.loads((out / "corrupt.json").read_text())["gains"]
    assert list(gains) == ["Song 1"]
    assert 0.2 < gains["Song 1"] < 0.9
    expected = gains["Song 1"] * mixture(source / "Song 1")
    for name in CLASSES:
        read = soundfile.read(out / f"Song 1/{name}.flac")[0]
        np.testing.assert_allclose(read, expected, atol=1e-6)
        assert np.abs(read).max() < 1.0


def test_silent_sources_are_not_in_the_truth(tmp_path: Path, write_songs) -> None:
    source = write_songs(tmp_path / "clean", songs=1)
    soundfile.write(source / "Song 1/vocals.flac", np.zeros((RATE_HZ, 2)), RATE_HZ)
    for kind in ("swap", "partial"):
        out = corrupt(open_dataset(source), tmp_path / kind, kind=kind, rate=0.0)
        assert true_sets(out)["Song 1/vocals.flac"] == set()
    out = corrupt(open_dataset(source), tmp_path / "more", kind="partial", rate=1.0)
    assert set(pl.read_csv(out / "truth_segments.csv")["class"]) == {"drums", "bass", "other"}


@pytest.mark.parametrize("kind", ["regroup", "partial"])
def test_workers_and_interruptions_do_not_show(tmp_path: Path, write_songs, snapshot, monkeypatch, kind: str) -> None:
    dataset = open_dataset(write_songs(tmp_path / "clean", songs=4))
    settings = {"kind": kind, "rate": 0.5, "seed": 7, "workers": 1}
    expected = snapshot(corrupt(dataset, tmp_path / "one", **settings))
    assert snapshot(corrupt(dataset, tmp_path / "two", **{**settings, "workers": 2})) == expected

    out = tmp_path / "resumed"
    seen: list[tuple[int, int]] = []

    def interrupt(_: str, done: int, total: int) -> None:
        seen.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        corrupt(dataset, out, progress=interrupt, **settings)
    assert seen == [(1, 4), (2, 4)]
    assert not (out / "truth.csv").exists()
    # What a kill leaves: files that were being written.
    (out / "Song 3").mkdir(exist_ok=True)
    (out / "Song 3/.bass.flac.99.part").write_bytes(b"half a file")
    finished = (out / "Song 1").stat().st_mtime_ns
    assert snapshot(corrupt(dataset, out, **settings)) == expected
    assert (out / "Song 1").stat().st_mtime_ns == finished

    monkeypatch.setattr(corrupt_module, "_corrupt_song", None)
    assert corrupt(dataset, out, **settings) == out


def test_wav_and_nested_songs(tmp_path: Path, write_songs) -> None:
    source = write_songs(tmp_path / "clean/train", songs=1).parent
    out = corrupt(open_dataset(source), tmp_path / "out", kind="regroup", rate=0.0, format=".WAV")
    assert sorted(path.name for path in (out / "train/Song 1").iterdir()) == sorted(f"{name}.wav" for name in CLASSES)
    assert open_dataset(out).splits == {"Song 1": "train"}


def test_songs_of_a_table_cannot_lead_outside(tmp_path: Path, write_songs) -> None:
    source = write_songs(tmp_path / "clean", songs=1)
    rows = "".join(f"Song 1/{name}.flac,{name},../../evil\n" for name in CLASSES)
    (source / "stems.csv").write_text("path,labels,song\n" + rows)
    out = corrupt(open_dataset(source), tmp_path / "out", kind="regroup", rate=0.0)
    assert open_dataset(out).songs == ("_/_/evil",)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clean", "out"]


def test_refusals_of_out(tmp_path: Path, write_songs) -> None:
    dataset = open_dataset(write_songs(tmp_path / "clean", songs=1))
    with pytest.raises(DatasetError, match="lies in the dataset, which is never written to"):
        corrupt(dataset, tmp_path / "clean/out", kind="swap", rate=0.1)
    (tmp_path / "link").symlink_to(tmp_path / "clean")
    with pytest.raises(DatasetError, match="lies in the dataset"):
        corrupt(dataset, tmp_path / "link/out", kind="swap", rate=0.1)
    with pytest.raises(RunError, match="is not empty and holds no noisy copy"):
        corrupt(dataset, tmp_path, kind="swap", rate=0.1)
    out = corrupt(dataset, tmp_path / "out", kind="swap", rate=0.1)
    with pytest.raises(RunError, match="differs in `seed`; choose another `out`, or delete it"):
        corrupt(dataset, out, kind="swap", rate=0.1, seed=1)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file"):
        corrupt(dataset, tmp_path / "file", kind="swap", rate=0.1)
    with pytest.raises(UsageError, match="cannot be written as 'mp3'; use flac or wav"):
        corrupt(dataset, tmp_path / "new", kind="swap", rate=0.1, format="mp3")
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_added_up(tmp_path: Path, write_songs) -> None:
    source = write_songs(tmp_path / "clean", songs=1)
    sound = soundfile.read(source / "Song 1/bass.flac")[0]
    soundfile.write(source / "Song 1/bass.flac", sound, 16000)
    with pytest.raises(AudioError, match=r"Hz, but .*, which it is to be added to, has"):
        corrupt(open_dataset(source), tmp_path / "rates", kind="bleed", rate=0.0)
    corrupt(open_dataset(source), tmp_path / "alone", kind="swap", rate=0.5)
    soundfile.write(source / "Song 1/bass.flac", np.tile(sound[:, :1], 4), RATE_HZ)
    with pytest.raises(AudioError, match=r"channels, but .*, which it is to be added"):
        corrupt(open_dataset(source), tmp_path / "channels", kind="bleed", rate=0.0)
    (source / "Song 1/bass.flac").write_bytes(b"fLaC")
    with pytest.raises(AudioError, match=r"bass\.flac: cannot be decoded"):
        corrupt(open_dataset(source), tmp_path / "broken", kind="swap", rate=0.0)


def test_shorter_sources_end_in_silence(tmp_path: Path, write_songs) -> None:
    source = write_songs(tmp_path / "clean", songs=1)
    sound = soundfile.read(source / "Song 1/bass.flac")[0]
    soundfile.write(source / "Song 1/bass.flac", sound[:1234], RATE_HZ)
    out = corrupt(open_dataset(source), tmp_path / "out", kind="bleed", rate=0.0, level_db=0.0)
    for name in CLASSES:
        np.testing.assert_allclose(
            soundfile.read(out / f"Song 1/{name}.flac")[0], mixture(source / "Song 1"), atol=1e-6
        )


def test_songs_that_cannot_be_mixed_are_left_out(tmp_path: Path, write_songs, snapshot) -> None:
    """Another rate, NaN, or no audio at all; whatever the number of workers, the other songs are the same."""
    source = write_songs(tmp_path / "clean", songs=5)
    expected = snapshot(corrupt(open_dataset(source), tmp_path / "whole", kind="bleed", workers=1))
    sound = soundfile.read(source / "Song 1/bass.flac")[0]
    soundfile.write(source / "Song 1/bass.flac", sound, 16000)
    soundfile.write(source / "Song 2/bass.flac", sound, RATE_HZ)
    (source / "Song 2/bass.flac").unlink()
    sound[100] = np.nan
    soundfile.write(source / "Song 2/bass.wav", sound, RATE_HZ, subtype="FLOAT")
    (source / "Song 3/bass.flac").write_bytes(b"fLaC")
    before = snapshot(source)
    for workers in (1, 2):
        out = corrupt(open_dataset(source), tmp_path / f"out{workers}", kind="bleed", workers=workers)
        failed, notes = failures_and_notes(out)
        assert notes == {} and list(failed) == ["Song 1", "Song 2", "Song 3"]
        assert "16000 Hz" in failed["Song 1"] and "NaN" in failed["Song 2"] and "cannot be decoded" in failed["Song 3"]
        found = snapshot(out)
        assert {path for path in found if path.endswith(".flac")} == {
            path for path in expected if path.endswith(".flac") and path.startswith(("Song 4", "Song 5"))
        }
        assert all(found[path] == expected[path] for path in found if path.endswith(".flac"))
        assert {stem.song for stem in open_dataset(out).stems} == {"Song 4", "Song 5"}
    assert snapshot(source) == before

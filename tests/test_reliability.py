"""Harm done to a refinement from outside: bad files, odd datasets, and the end of the process."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from restem.cli.main import run_command
from restem.dataset.layouts import open_dataset
from restem.errors import DatasetError, RunError
from restem.labelling.refining import refine_labels
from restem.labelling.settings import RefineSettings
from restem.labelling.training import TrainingSettings
from restem.runs.run import Run, open_run

RATE_HZ = 16000
QUICK = RefineSettings(
    rounds=1, folds=2, steps=4, training=TrainingSettings(batch=8, epoch_steps=4, validation_mixtures=8)
)


def refine(root: Path, out: Path, settings: RefineSettings = QUICK) -> Run:
    return refine_labels(open_dataset(root), out, settings, cache=out.parent / "cache", workers=1)


def verdicts(run: Run) -> dict[str, str]:
    return dict(zip(run.labels["stem"], run.labels["verdict"], strict=True))


class TestBadStems:
    def test_each_gets_its_verdict_and_none_stops_the_run(self, tmp_path: Path, write_band: Callable) -> None:
        root = write_band(tmp_path / "songs", songs=2)
        song = root / "Song 3"
        song.mkdir()
        noise = 0.1 * np.random.default_rng(0).standard_normal(5 * RATE_HZ)
        whole = (root / "Song 1" / "vocals.wav").read_bytes()

        (song / "vocals_1.wav").write_bytes(whole[: len(whole) // 2])
        spoilt = noise.copy()
        spoilt[70000] = np.nan
        soundfile.write(song / "vocals_2.wav", spoilt, RATE_HZ, subtype="FLOAT")
        (song / "vocals_3.wav").write_bytes(b"")
        (song / "vocals_4.wav").write_text("Dear diary, today I renamed a text file. " * 100)
        spoilt[70000] = np.inf
        soundfile.write(song / "vocals_5.wav", spoilt, RATE_HZ, subtype="FLOAT")
        soundfile.write(song / "vocals_6.wav", np.zeros((0, 1)), RATE_HZ)
        (song / "vocals_7.wav").mkdir()
        (song / "vocals_8.wav").symlink_to(tmp_path / "gone.wav")
        failed = {f"Song 3/vocals_{n}.wav" for n in range(1, 7)}

        soundfile.write(song / "bass_1.wav", np.zeros(5 * RATE_HZ), RATE_HZ)
        soundfile.write(song / "bass_2.wav", 1e-5 * noise, RATE_HZ, subtype="FLOAT")
        silent = {"Song 3/bass_1.wav", "Song 3/bass_2.wav"}

        soundfile.write(song / "drums_1.wav", noise[:RATE_HZ], RATE_HZ)
        soundfile.write(song / "drums_2.wav", noise[:200], RATE_HZ)
        soundfile.write(song / "drums_3.wav", np.stack([noise] * 8, axis=1), 8000)
        soundfile.write(song / "drums_4.flac", noise, RATE_HZ)
        # An OGG named WAV is decoded for what it is.
        soundfile.write(tmp_path / "x.ogg", noise, RATE_HZ)
        (tmp_path / "x.ogg").rename(song / "drums_5.wav")
        soundfile.write(song / "other.wav", np.full(1, 0.5), RATE_HZ)

        run = refine(root, tmp_path / "run")
        found = verdicts(run)
        assert {name for name, verdict in found.items() if verdict == "failed"} >= failed
        assert "Song 3/vocals_7.wav" not in found or found["Song 3/vocals_7.wav"] == "failed"
        assert "Song 3/vocals_8.wav" not in found or found["Song 3/vocals_8.wav"] == "failed"
        assert {name for name, verdict in found.items() if verdict == "silent"} - {"Song 3/other.wav"} == silent
        sounding = {"Song 3/drums_1.wav", "Song 3/drums_2.wav", "Song 3/drums_3.wav", "Song 3/drums_4.flac",
                    "Song 3/drums_5.wav", *(name for name in found if not name.startswith("Song 3"))}  # fmt: skip
        assert {found[name] for name in sounding} <= {"kept", "changed", "unsure"}
        assert len(sounding) == 5 + 8 and "Song 3/other.wav" in found

        rows = {row["stem"]: row for row in run.labels.iter_rows(named=True)}
        for name in failed:
            row = rows[name]
            # Nothing is known of it: it keeps its label, and has no scores.
            assert row["refined"] == row["given"] == "vocals"
            assert [row[key] for key in ("quality", "vocals", "seconds", "active_seconds")] == [None] * 4
            assert run.description["failures"][name]
        for name in silent:
            assert rows[name]["refined"] == "" and rows[name]["active_seconds"] == 0 and rows[name]["vocals"] == 0
        assert rows["Song 3/drums_1.wav"]["seconds"] == 1.0
        assert rows["Song 3/drums_2.wav"]["seconds"] == pytest.approx(200 / RATE_HZ, abs=1e-6)
        assert set(run.segments["stem"]) == set(found) - {name for name in found if found[name] == "failed"}

    def test_everything_failed(self, tmp_path: Path) -> None:
        for name in ("vocals", "bass"):
            path = tmp_path / "songs" / "Song" / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"nothing to hear")
        with pytest.raises(DatasetError, match=r"no stem can be decoded; the first: .*bass\.wav"):
            refine(tmp_path / "songs", tmp_path / "run")

    def test_everything_silent(self, tmp_path: Path) -> None:
        (tmp_path / "songs" / "Song").mkdir(parents=True)
        for name in ("vocals", "bass"):
            soundfile.write(tmp_path / "songs" / "Song" / f"{name}.wav", np.zeros(RATE_HZ), RATE_HZ)
        with pytest.raises(DatasetError, match="every stem is silent"):
            refine(tmp_path / "songs", tmp_path / "run")

    def test_repaired_and_started_again(self, tmp_path: Path, write_band: Callable) -> None:
        """What was begun with the broken dataset is another run; the error says so, and what to do about it."""
        root = tmp_path / "songs"
        (root / "Song 1").mkdir(parents=True)
        (root / "Song 1" / "vocals.wav").write_bytes(b"nothing to hear")
        with pytest.raises(DatasetError):
            refine(root, tmp_path / "run")
        shutil.rmtree(root)
        write_band(root, songs=1)
        with pytest.raises(RunError, match="choose another `out`, or delete it"):
            refine(root, tmp_path / "run")
        shutil.rmtree(tmp_path / "run")
        assert len(refine(root, tmp_path / "run").labels) == 4


class TestOddDatasets:
    def test_a_single_song(self, tmp_path: Path, write_band: Callable) -> None:
        run = refine(write_band(tmp_path / "songs", songs=1), tmp_path / "run")
        assert len(run.labels) == 4 and run.labels["vocals"].is_finite().all()

    def test_a_single_stem(self, tmp_path: Path, write_band: Callable) -> None:
        root = write_band(tmp_path / "songs", songs=1)
        for name in ("vocals", "drums", "bass"):
            (root / "Song 1" / f"{name}.wav").unlink()
        run = refine(root, tmp_path / "run")
        assert run.labels["refined"].to_list() == ["other"]

    def test_a_song_that_is_silent(self, tmp_path: Path, write_band: Callable) -> None:
        """With two songs and two folds, one classifier has nothing to learn from."""
        root = write_band(tmp_path / "songs", songs=2)
        for path in (root / "Song 2").iterdir():
            soundfile.write(path, np.zeros(5 * RATE_HZ), RATE_HZ)
        found = verdicts(refine(root, tmp_path / "run"))
        assert {verdict for name, verdict in found.items() if name.startswith("Song 2")} == {"silent"}
        assert {verdict for name, verdict in found.items() if name.startswith("Song 1")} <= {
            "kept",
            "changed",
            "unsure",
        }

    def test_a_table_with_label_sets(self, tmp_path: Path, write_band: Callable) -> None:
        root = write_band(tmp_path / "songs", songs=2)
        (root / "stems.csv").write_text(
            "path,labels,song\n"
            "Song 1/vocals.wav,vocals+other,One\n"
            "Song 1/drums.wav,drums,One\n"
            "Song 1/bass.wav,,One\n"
            "Song 2/vocals.wav,vocals,Two\n"
            "Song 2/drums.wav,bass+drums,Two\n"
            "Song 2/other.wav,other,Two\n"
        )
        run = refine(root, tmp_path / "run")
        given = dict(zip(run.labels["stem"], run.labels["given"], strict=True))
        assert run.description["dataset"]["layout"] == "table"
        assert given["Song 1/vocals.wav"] == "vocals+other" and given["Song 2/drums.wav"] == "drums+bass"
        assert given["Song 1/bass.wav"] == "" and set(run.labels["song"]) == {"One", "Two"}

    def test_a_table_without_any_label(self, tmp_path: Path, write_band: Callable) -> None:
        root = write_band(tmp_path / "songs", songs=2)
        rows = "".join(f"Song {n}/{name}.wav,\n" for n in (1, 2) for name in ("vocals", "bass"))
        (root / "stems.csv").write_text("path,labels\n" + rows)
        with pytest.raises(DatasetError):
            refine(root, tmp_path / "run")

    def test_a_class_that_one_song_alone_has(self, tmp_path: Path, write_band: Callable) -> None:
        root = write_band(tmp_path / "songs", songs=2)
        for name in ("bass", "other"):
            (root / "Song 2" / f"{name}.wav").unlink()
        assert len(refine(root, tmp_path / "run").labels) == 6


ARGUMENTS = ("--rounds", "2", "--folds", "1", "--steps", "2", "--device", "cpu")


class TestKill:
    """The command line, ended by `kill -9` at two moments, and started again."""

    @pytest.fixture(scope="class")
    @classmethod
    def uninterrupted(cls, tmp_path_factory: pytest.TempPathFactory, band_writer: Callable) -> Path:
        root = tmp_path_factory.mktemp("kill")
        band_writer(root / "songs", songs=2, seconds=4.0)
        command = [
            "refine",
            str(root / "songs"),
            "--out",
            str(root / "run"),
            "--cache",
            str(root / "cache"),
            *ARGUMENTS,
        ]
        assert run_command(command) == 0
        return root

    def wait_for(self, condition: Callable[[], bool], process: object) -> None:
        while not condition():
            assert process.poll() is None, process.communicate()[0]  # type: ignore[attr-defined]
            time.sleep(0.02)

    @pytest.mark.parametrize("moment", ["while features are computed", "in the second round, but for its workers"])
    def test_killed_and_started_again(
        self, uninterrupted: Path, tmp_path: Path, start_python: Callable, moment: str
    ) -> None:
        command = [
            "refine",
            uninterrupted / "songs",
            "--out",
            tmp_path / "run",
            "--cache",
            tmp_path / "cache",
            *ARGUMENTS,
        ]
        process = start_python("-m", "restem.cli.main", *command, "--workers", "2")
        if moment == "while features are computed":
            self.wait_for(lambda: any((tmp_path / "cache").rglob("*.mel")), process)
            os.killpg(process.pid, signal.SIGKILL)
        else:
            # The worker processes go on for a while, beside those of the second attempt.
            self.wait_for((tmp_path / "run" / ".work" / "round2").exists, process)
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "run" / "labels.csv").exists()

        assert run_command([*map(str, command), "--workers", "1"]) == 0
        one, other = open_run(uninterrupted / "run"), open_run(tmp_path / "run")
        assert (one.path / "labels.csv").read_bytes() == (other.path / "labels.csv").read_bytes()
        assert one.segments.equals(other.segments)
        assert sorted(path.name for path in other.path.iterdir()) == sorted(path.name for path in one.path.iterdir())

    def test_report_of_a_run_that_was_killed_before_it(self, uninterrupted: Path, tmp_path: Path) -> None:
        shutil.copytree(uninterrupted / "run", tmp_path / "run")
        (tmp_path / "run" / "report.html").unlink()
        command = ["refine", str(uninterrupted / "songs"), "--out", str(tmp_path / "run"), *ARGUMENTS]
        assert run_command(command) == 0
        assert (tmp_path / "run" / "report.html").stat().st_size > 1000

    @pytest.mark.parametrize("name", ["labels.csv", "segments.parquet"])
    def test_a_finished_run_that_lost_a_table(
        self, uninterrupted: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Running `restem refine` again makes it anew; or if not, the error does not say that it would."""
        shutil.copytree(uninterrupted / "run", tmp_path / "run")
        expected = (tmp_path / "run" / name).read_bytes()
        (tmp_path / "run" / name).unlink()
        command = ["refine", str(uninterrupted / "songs"), "--out", str(tmp_path / "run"), *ARGUMENTS]
        if run_command([*command, "--cache", str(uninterrupted / "cache")]) == 0:
            assert (tmp_path / "run" / name).read_bytes() == expected
        else:
            assert "run `restem refine` again" not in capsys.readouterr().err


def test_a_disk_without_room_for_the_cache(
    tmp_path: Path, write_band: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("")
    songs = write_band(tmp_path / "songs", songs=1, seconds=1.0)
    command = ["refine", str(songs), "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "taken")]
    assert run_command([*command, "--workers", "1"]) == 1
    error = capsys.readouterr().err
    assert "--cache" in error and "Traceback" not in error


def test_tables_can_be_read_by_others(tmp_path: Path, write_band: Callable) -> None:
    """Not only by restem: the CSV has one line a stem, whatever its name."""
    root = write_band(tmp_path / "songs", songs=1)
    (root / "Song 1").rename(root / 'Müller, "live" 2')
    run = refine(root, tmp_path / "run")
    table = pl.read_csv(tmp_path / "run" / "labels.csv")
    assert table["stem"].to_list() == run.labels["stem"].to_list()
    assert table["song"].unique().to_list() == ['Müller, "live" 2']

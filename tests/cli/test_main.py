from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from restem import __version__
from restem.cli import datasets
from restem.cli.main import app, main, run_command
from restem.errors import DatasetError

COMMANDS = (
    "demo", "scan", "audit", "corrupt", "refine", "score", "report", "review", "export", "train", "separate",
    "evaluate",
)  # fmt: skip


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory, band_writer: Callable[..., Path]) -> Path:
    return band_writer(tmp_path_factory.mktemp("cli") / "songs", songs=2, seconds=4.0)


@pytest.fixture(scope="module")
def run(songs: Path) -> Path:
    out = songs.parent / "run"
    command = ["refine", str(songs), "--out", str(out), "--cache", str(songs.parent / "cache"), "--rounds", "1",
               "--folds", "1", "--steps", "3", "--workers", "1"]  # fmt: skip
    assert run_command(command) == 0
    return out


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_command_has_an_example(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command([command, "--help"]) == 0
        assert f"restem {command}" in capsys.readouterr().out.split("Example", 1)[1]

    def test_names_every_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command(["--help"]) == 0
        output = capsys.readouterr().out
        for command in COMMANDS:
            assert command in output

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command(["--version"]) == 0
        assert capsys.readouterr().out.strip() == __version__

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_completion_knows_commands_and_options(self, shell: str) -> None:
        script = app.generate_completion(shell=shell)
        assert "refine" in script and "encoder" in script

    def test_loads_nothing_heavy(self, run_python: Callable) -> None:
        program = (
            f"COMMANDS = {COMMANDS}"
            """
import sys
from restem.cli.main import run_command
for arguments in (["--help"], *([command, "--help"] for command in COMMANDS)):
    assert run_command(arguments) == 0
print("loaded", sorted({"torch", "polars", "numpy", "scipy", "lightning", "soundfile", "av"} & set(sys.modules)))
"""
        )
        assert run_python(program).stdout.splitlines()[-1] == "loaded []"


class TestExitStatus:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["nonsense"],
            ["scan"],
            ["refine", "x"],
            ["scan", "x", "--nonsense"],
            ["scan", "x", "--layout", "heap"],
            ["corrupt", "x", "y", "--rate", "much"],
            ["refine", "x", "--out", "y", "--size", "huge"],
            ["refine", "x", "--out", "y", "--seed", "half"],
            ["refine", "x", "--out", "y", "--device", "abacus"],
            ["train", "x", "--out", "y", "--set", "width"],
            ["train", "x", "--out", "y", "--model", "unet"],
            ["train", "x", "--out", "y", "--segment", "-1"],
            ["train", "x", "--out", "y", "--segment-s", "-1"],
            ["train", "x", "--out", "y", "--max-time", "soon"],
            ["train", "x", "--out", "y", "--truncate", "0.7;0.5"],
            ["train", "x", "--out", "y", "--epoch-steps", "5"],
            ["train", "x", "--out", "y", "--mel", "5"],
            ["review", "x", "--port", "99999"],
            ["separate", "x", "--out", "y"],
            ["separate", "x", "z.wav", "--out", "y", "--overlap", "1"],
            ["separate", "x", "z.wav", "--out", "y", "--shifts", "-1"],
            ["evaluate", "x"],
        ],
    )
    def test_bad_usage_is_2(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command(arguments) == 2
        assert_short_error(capsys)

    @pytest.mark.parametrize("option", [["--rounds", "0"], ["--folds", "0"], ["--steps", "0"], ["--seed", "-1"]])
    def test_settings_out_of_range_are_2(
        self, songs: Path, tmp_path: Path, option: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["refine", str(songs), "--out", str(tmp_path / "run"), "--cache", str(songs.parent / "cache")]
        assert run_command([*command, "--workers", "1", *option]) == 2
        assert_short_error(capsys)

    @pytest.mark.parametrize("workers", ["0", "-3"])
    def test_workers_out_of_range(self, songs: Path, workers: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command(["scan", str(songs), "--workers", workers]) in (0, 2)
        assert "fault in restem" not in capsys.readouterr().err

    def test_what_fails_is_1(self, tmp_path: Path, songs: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "truth.csv").write_text("song,stem\n")
        nowhere = str(tmp_path / "nowhere")
        for arguments in (
            ["scan", nowhere],
            ["scan", str(tmp_path / "empty")],
            ["refine", nowhere, "--out", str(tmp_path / "run")],
            ["refine", str(songs), "--out", str(run)],
            ["score", nowhere, nowhere],
            ["score", str(run), nowhere],
            ["score", str(run), str(tmp_path / "truth.csv")],
            ["report", nowhere],
            ["export", nowhere, str(tmp_path / "out")],
            ["scan", str(songs), "--classes", "Vocals!"],
        ):
            assert run_command(arguments) in (1, 2), arguments
            assert_short_error(capsys)

    def test_the_folder_of_a_run_cannot_be_made(
        self, tmp_path: Path, songs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").write_text("")
        assert run_command(["refine", str(songs), "--out", str(tmp_path / "file" / "run")]) == 1
        assert_short_error(capsys)

    def test_interrupted(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(datasets, "open_stems", raising(KeyboardInterrupt()))
        assert run_command(["scan", "x"]) == 130
        assert "goes on from here" in capsys.readouterr().err

    def test_a_fault_in_restem_says_so(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(datasets, "open_stems", raising(ZeroDivisionError("division by zero")))
        assert run_command(["scan", "x"]) == 1
        error = assert_short_error(capsys)
        assert "A fault in restem itself: ZeroDivisionError" in error and "--debug" in error

    def test_main_exits(self) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["nonsense"])
        assert caught.value.code == 2

    def test_as_a_program(self, start_python: Callable, tmp_path: Path) -> None:
        process = start_python("-m", "restem", "scan", tmp_path / "nowhere")
        output, _ = process.communicate()
        assert process.returncode == 1
        assert output.startswith("restem: ") and "nowhere" in output and "Traceback" not in output


def raising(error: BaseException) -> Callable[..., None]:
    def function(*_: object, **__: object) -> None:
        raise error

    return function


def assert_short_error(capsys: pytest.CaptureFixture[str]) -> str:
    """One or two lines, without a traceback."""
    error = capsys.readouterr().err
    lines = [line for line in error.strip().splitlines() if not line.endswith(" ...")]
    assert 1 <= len(lines) <= 2 and lines[0].startswith("restem: "), error
    assert "Traceback" not in error
    return error


class TestEarlierNames:
    """Words of earlier versions are understood; values that were renamed with a notice of one line."""

    @pytest.mark.parametrize(
        ("arguments", "meant"),
        [
            (["refine", "x", "--out", "y", "--start", "prior"], {"start": "pretrained"}),
            (["train", "x", "--out", "y", "--model", "band"], {"model": "band_split"}),
            (["train", "x", "--out", "y", "--segment", "2", "--rate", "8000"], {"segment_s": 2.0, "rate_hz": 8000}),
            (["train", "x", "--out", "y", "--truncate", "0.7,0.5"], {"truncate": (0.7, 0.5)}),
            (["train", "x", "--out", "y", "--max-time", "90"], {"max_time": timedelta(seconds=90)}),
            (["train", "x", "--out", "y", "--max-time", "1h30m"], {"max_time": timedelta(hours=1.5)}),
        ],
    )
    @pytest.mark.filterwarnings("ignore::restem.renaming.RenamedWarning")
    def test_settings(self, arguments: list[str], meant: dict[str, object]) -> None:
        _, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
        assert {name: getattr(bound.arguments["settings"], name) for name in meant} == meant

    @pytest.mark.parametrize(
        ("arguments", "name"),
        [
            (["train", "x", "--out", "y", "--set", "width=8", "--set", "depth=1"], "parameters"),
            (["review", "x", "--export", "d.csv"], "export_decisions"),
            (["review", "x", "--import", "d.csv"], "import_decisions"),
        ],
    )
    def test_options(self, arguments: list[str], name: str) -> None:
        _, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
        assert bound.arguments[name]

    def test_a_notice_is_one_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        nowhere = str(tmp_path / "nowhere")
        assert run_command(["refine", nowhere, "--out", str(tmp_path / "run"), "--start", "prior"]) == 1
        first, second = capsys.readouterr().err.splitlines()
        assert first == "restem: --start prior is now called `pretrained`."
        assert "nowhere" in second

    def test_other_warnings_are_left_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(datasets, "open_stems", lambda *_: warnings.warn("as ever", stacklevel=1))
        with pytest.warns(UserWarning, match="as ever"):
            run_command(["scan", "x"])


class TestSpelling:
    """Messages of the library name options, once they come from a command line."""

    def test_where_out_is_an_option(self, songs: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
        command = ["refine", str(songs), "--out", str(run), "--cache", str(songs.parent / "cache"), "--steps", "4"]
        assert run_command(command) == 1
        assert "choose another --out, or delete it." in assert_short_error(capsys)

    def test_where_out_is_positional(self, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "note.txt").write_text("mine")
        assert run_command(["corrupt", str(songs), str(tmp_path)]) == 1
        assert "choose another OUT" in assert_short_error(capsys)

    def test_values(self, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        command = ["refine", str(songs), "--out", str(tmp_path / "run"), "--size", "small", "--start", "pretrained"]
        assert run_command(command) == 2
        assert "use --start scratch." in assert_short_error(capsys)

    def test_other_classes(self, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command(["scan", str(songs), "--classes", "flute,horn"]) == 1
        assert "add to them with --classes" in assert_short_error(capsys)


class TestDatasetIsNeverWrittenTo:
    @pytest.mark.parametrize("arguments", [["scan", "DATASET", "--csv"], ["refine", "DATASET", "--out"]])
    def test_by_commands_on_it(self, arguments: list[str], songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        inside = songs / "inside"
        assert run_command([str(songs) if one == "DATASET" else one for one in arguments] + [str(inside)]) == 1
        assert "lies in the dataset" in assert_short_error(capsys)
        assert not inside.exists()

    @pytest.mark.parametrize(
        "arguments",
        [
            ["score", "RUN", "--decisions", "RUN", "--json"],
            ["report", "RUN", "--out"],
            ["review", "RUN", "--export-decisions"],
            ["export", "RUN"],
        ],
    )
    def test_by_commands_on_a_run(
        self, arguments: list[str], songs: Path, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        inside = songs / "inside"
        assert run_command([str(run) if one == "RUN" else one for one in arguments] + [str(inside)]) == 1
        assert "lies in the dataset" in assert_short_error(capsys)
        assert not inside.exists()


class TestDebug:
    def test_shows_where_an_error_comes_from(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError):
            run_command(["scan", str(tmp_path / "nowhere"), "--debug"])
        with pytest.raises(DatasetError):
            run_command(["--debug", "scan", str(tmp_path / "nowhere")])

    def test_also_of_a_fault(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(datasets, "open_stems", raising(ZeroDivisionError()))
        with pytest.raises(ZeroDivisionError):
            run_command(["scan", "x", "--debug"])

    def test_and_of_bad_usage(self) -> None:
        with pytest.raises(Exception, match="nonsense"):
            run_command(["nonsense", "--debug"])


class TestCommands:
    def test_scan(self, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command(["scan", str(songs), "--csv", str(tmp_path / "stems.csv"), "--workers", "1"]) == 0
        assert "2 songs" in capsys.readouterr().out
        assert len(pl.read_csv(tmp_path / "stems.csv")) == 8

    def test_refine_says_what_it_found_and_where(
        self, songs: Path, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["refine", str(songs), "--out", str(run), "--rounds", "1", "--folds", "1", "--steps", "3"]
        assert run_command(command) == 0
        output = capsys.readouterr().out
        assert "kept" in output and "labels.csv" in output.replace("\n", "")
        assert f"restem export {run} refined-stems" in output.splitlines()[-1]
        # With one fold.
        assert "scored by a classifier that was trained on it" in output

    def test_score_without_a_truth_is_one_line(
        self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run_command(["score", str(run), "--json", str(tmp_path / "left.json")]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        left = json.loads((tmp_path / "left.json").read_text())
        assert f"of {left['stems']} undecided stems about {left['wrong']:.1f} should have wrong labels" in line

    def test_figures_as_json(self, songs: Path, run: Path, tmp_path: Path) -> None:
        assert run_command(["scan", str(songs), "--json", str(tmp_path / "scan.json"), "--workers", "1"]) == 0
        assert json.loads((tmp_path / "scan.json").read_text())["stems"] == 8
        command = ["refine", str(songs), "--out", str(run), "--cache", str(songs.parent / "cache"), "--rounds", "1",
                   "--folds", "1", "--steps", "3", "--workers", "1"]  # fmt: skip
        assert run_command([*command, "--json", str(tmp_path / "refine.json")]) == 0
        found = json.loads((tmp_path / "refine.json").read_text())
        assert sum(found["verdicts"].values()) == found["stems"] == 8
        assert run_command(["scan", str(songs), "--json", str(songs / "scan.json")]) == 1
        assert not (songs / "scan.json").exists()

    @pytest.mark.parametrize("command", ["demo", "scan", "audit", "refine", "score", "export", "train", "evaluate"])
    def test_what_ends_in_figures_writes_them_as_json(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command([command, "--help"]) == 0
        assert "--json" in capsys.readouterr().out

    def test_figures_of_an_audit_and_an_export_as_json(self, songs: Path, run: Path, tmp_path: Path) -> None:
        command = ["audit", str(songs), "--out", str(tmp_path / "audit"), "--workers", "1"]
        assert run_command([*command, "--json", str(tmp_path / "audit.json")]) == 0
        found = json.loads((tmp_path / "audit.json").read_text())
        assert found["songs"] == sum(found["mixtures"].values()) == 2 and found["failed"] == {}
        assert found["hours"] == pytest.approx(2 * 4 * 4.0 / 3600.0, abs=1e-4)
        findings = pl.read_csv(tmp_path / "audit" / "findings.csv")
        assert sum(found["findings"].values()) == len(findings)

        command = ["export", str(run), str(tmp_path / "refined"), "--json", str(tmp_path / "export.json")]
        assert run_command(command) == 0
        written = json.loads((tmp_path / "export.json").read_text())
        assert written["written"] + sum(written["left_out"].values()) + len(written["failed"]) == 8
        for command in (["audit", str(songs), "--out", str(tmp_path / "audit")],
                        ["export", str(run), str(tmp_path / "again")]):  # fmt: skip
            assert run_command([*command, "--json", str(songs / "inside.json")]) == 1
            assert not (songs / "inside.json").exists()

    def test_train_ends_with_its_figures(self, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        command = ["train", str(songs), "--out", str(tmp_path / "separator"), "--steps", "2", "--batch", "1",
                   "--segment-s", "0.5", "--rate-hz", "8000", "--validation", "0.5", "--parameters", "width=16",
                   "--cache", str(tmp_path / "cache"), "--device", "cpu", "--workers", "1"]  # fmt: skip
        assert run_command([*command, "--json", str(tmp_path / "train.json")]) == 0
        figures = json.loads((tmp_path / "train.json").read_text())
        said = capsys.readouterr()
        assert figures["steps"] == 2 and set(figures["seconds_of_class"]) == {"vocals", "drums", "bass", "other"}
        gain = figures["validation_sdr"] - figures["mixture_sdr"]
        assert f"{gain:+.2f} dB over the mixture's" in said.out.splitlines()[-1]
        assert "seconds per class: vocals" in said.err and "step 2: loss" in said.err
        # Its figures are kept with the separator.
        assert run_command(command) == 0
        assert f"{gain:+.2f} dB over the mixture's" in capsys.readouterr().out.splitlines()[-1]

    def test_corrupt_score_and_export(self, songs: Path, run: Path, tmp_path: Path) -> None:
        noisy = tmp_path / "noisy"
        assert run_command(["corrupt", str(songs), str(noisy), "--rate", "0.5", "--workers", "1"]) == 0
        truth = pl.read_csv(noisy / "truth.csv")
        assert truth.columns == ["song", "stem", "given", "true"]

        labels = pl.read_csv(run / "labels.csv")
        labels.select("song", "stem", "given", true="given").write_csv(tmp_path / "truth.csv")
        command = ["score", str(run), str(tmp_path / "truth.csv"), "--json", str(tmp_path / "score.json")]
        assert run_command(command) == 0
        assert json.loads((tmp_path / "score.json").read_text())

        assert run_command(["export", str(run), str(tmp_path / "refined"), "--link", "copy", "--licence", "CC0"]) == 0
        assert run_command(["scan", str(tmp_path / "refined"), "--workers", "1"]) == 0

    def test_report(self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command(["report", str(run), "--out", str(tmp_path / "r.html")]) == 0
        assert "r.html" in capsys.readouterr().out and (tmp_path / "r.html").exists()

    def test_decisions_in_and_out(self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        mine = tmp_path / "run"
        shutil.copytree(run, mine)
        assert run_command(["score", str(mine), "--decisions", str(mine)]) == 1
        assert "restem review" in assert_short_error(capsys)
        (tmp_path / "in.csv").write_text("song,stem,new\nSong 1,Song 1/bass.wav,drums\n")
        assert run_command(["review", str(mine), "--import", str(tmp_path / "in.csv")]) == 0
        assert run_command(["review", str(mine), "--export", str(tmp_path / "out.csv")]) == 0
        assert "in.csv: 1." in capsys.readouterr().out.replace("\n", "")
        assert pl.read_csv(tmp_path / "out.csv")["new"].to_list() == ["drums"]
        assert pl.read_csv(mine / "labels.csv").filter(stem="Song 1/bass.wav")["refined"].to_list() == ["drums"]
        assert run_command(["score", str(mine), "--decisions", str(mine)]) == 0
        assert "1 stem" in capsys.readouterr().out
        assert run_command(["score", str(mine)]) == 0
        assert "of 7 undecided stems" in capsys.readouterr().out

    def test_refining_with_decisions(self, songs: Path, run: Path, tmp_path: Path) -> None:
        first, second = tmp_path / "run", tmp_path / "second"
        shutil.copytree(run, first)
        rows = ["Song 1/bass.wav,drums,,", "Song 2/other.wav,vocals,1.0,4.0", "Song 2/drums.wav,bass+drums,,"]
        (tmp_path / "in.csv").write_text(
            "song,stem,new,start_s,end_s\n" + "\n".join(f"{r[:6]},{r}" for r in rows) + "\n"
        )
        assert run_command(["review", str(first), "--import", str(tmp_path / "in.csv")]) == 0
        command = ["refine", str(songs), "--out", str(second), "--cache", str(songs.parent / "cache"), "--rounds", "2",
                   "--folds", "2", "--steps", "3", "--workers", "1"]  # fmt: skip
        assert run_command([*command, "--decisions", str(first)]) == 0
        rows_of = {row["stem"]: row for row in pl.read_csv(second / "labels.csv").to_dicts()}
        assert rows_of["Song 1/bass.wav"]["refined"] == "drums" and rows_of["Song 1/bass.wav"]["quality"] == 0.0
        assert rows_of["Song 2/drums.wav"]["refined"] == "drums+bass"
        assert "vocals" in rows_of["Song 2/other.wav"]["refined"]
        # The same request is the same run, and one without the decisions is another.
        assert run_command([*command, "--decisions", str(first)]) == 0
        assert run_command(command) == 1

    def test_classes_of_ones_own(self, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        taxonomy = tmp_path / "mine.yaml"
        taxonomy.write_text("singing: [vocals]\nrhythm: [drums, bass]\n")
        assert run_command(["scan", str(songs), "--classes", str(taxonomy), "--workers", "1"]) == 0
        output = capsys.readouterr().out
        assert "singing" in output and "rhythm" in output


def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path, write_songs, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_songs(tmp_path / "set", songs=1)
    assert run_command(["scan", str(root), "--csv", "/proc/table.csv", "--workers", "1"]) == 1
    assert "restem: /proc/table.csv: no such file" in capsys.readouterr().err

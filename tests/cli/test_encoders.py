from __future__ import annotations

import json
from pathlib import Path

import pytest

from restem.cli.main import run_command
from restem.labelling.encoders.interface import EncoderCard
from restem.labelling.encoders.registry import FOLDER_VARIABLE, KNOWN


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "encoders"))
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path / "encoders"


def install(folder: Path, card: EncoderCard) -> None:
    (folder / card.name).mkdir(parents=True)
    (folder / card.name / "card.json").write_text(json.dumps(card.to_json()))


def test_lists_what_is_known_and_what_is_installed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(folder, KNOWN["musicnn"])
    install(folder, EncoderCard("mine", "onnx", 24000, 120000, 768, "CC-BY\x1b[31m", good_for="music"))
    assert run_command(["encoders"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines if line.strip()}
    assert rows["musicnn"].split()[:7] == ["musicnn", "yes", "3", "s", "at", "16", "kHz"]
    assert rows["yamnet"].split()[1] == "no"
    assert rows["mine"].split()[1:7] == ["yes", "5", "s", "at", "24", "kHz"]
    assert r"CC-BY\x1b[31m" in rows["mine"]
    assert str(folder) in lines[-1]


def test_what_is_installed_already_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(folder, KNOWN["musicnn"])
    assert run_command(["encoders", "add", "musicnn"]) == 0
    output = capsys.readouterr().out
    assert "Licence of the weights: ISC" in output
    assert "non-commercial" in output


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["add"], 2, "requires an argument"),
        (["add", "nonsense"], 2, "neither an encoder"),
        (["add", "yamnet"], 2, "file that you bring"),
        (["add", "nowhere.onnx"], 1, "no such file"),
        (["add", "musicnn", "--wheel", "nowhere.whl"], 1, "no such file"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_errors(arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["encoders", *arguments]) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") <= 2


def test_a_missing_card_is_named_as_an_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    assert run_command(["encoders", "add", str(tmp_path / "model.onnx")]) == 2
    assert "model.yaml beside it or --card;" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["encoders"], ["encoders", "add"]])
def test_help_has_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([*command, "--help"]) == 0
    assert "restem encoders" in capsys.readouterr().out.split("Example", 1)[1]

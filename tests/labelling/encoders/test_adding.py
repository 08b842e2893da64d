"""Installing encoders: the right ones arrive whole, whatever else leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from restem.errors import RestemError, UsageError
from restem.labelling.encoders import adding, wheel
from restem.labelling.encoders.adding import add_encoder
from restem.labelling.encoders.interface import EncoderCard, card_from
from restem.labelling.encoders.registry import FOLDER_VARIABLE, KNOWN, encoders_folder, installed, load_encoder

CARD = {
    "name": "mine", "rate_hz": 1000, "window_samples": 4, "embedding_size": 3, "licence": "CC0", "embedding": "inner",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "encoders"


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else []


class TestMusicnn:
    def test_arrives_with_card_and_licence(self, known_wheel: Path, folder: Path) -> None:
        card = add_encoder("musicnn-vgg", wheel=known_wheel, folder=folder)
        assert contents(folder / "musicnn-vgg") == ["LICENCE.txt", "card.json", "model.safetensors"]
        assert (folder / "musicnn-vgg" / "LICENCE.txt").read_text() == "The licence.\n"
        assert installed(folder) == {"musicnn-vgg": card}
        assert card.tag_names[:2] == ("tag 0", "tag 1")
        encoder = load_encoder("musicnn-vgg", folder)
        sound = np.random.default_rng(0).standard_normal((1, card.window_samples)).astype(np.float32)
        assert encoder.embed(sound).shape == (1, card.embedding_size)
        assert encoder.tag(sound).shape == (1, 50)

    def test_the_same_twice_is_the_same(self, known_wheel: Path, folder: Path, tmp_path: Path) -> None:
        first = add_encoder("musicnn-vgg", wheel=known_wheel, folder=folder)
        assert add_encoder("musicnn-vgg", wheel=tmp_path / "not needed", folder=folder) == first
        assert add_encoder("musicnn-vgg", wheel=known_wheel, folder=tmp_path / "elsewhere").sha256 == first.sha256

    def test_another_wheel_is_refused(self, small_wheel: Path, folder: Path) -> None:
        with pytest.raises(RestemError, match="sha256 differs"):
            add_encoder("musicnn", wheel=small_wheel, folder=folder)
        assert contents(folder) == []

    def test_a_wheel_that_is_not_there(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(RestemError, match="no such file"):
            add_encoder("musicnn", wheel=tmp_path / "nowhere.whl", folder=folder)

    def test_without_network_the_remedy_is_named(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        said = "WARNING: Retrying\nERROR: No matching distribution found for musicnn==0.1.0"
        asked: list[list[str]] = []

        def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
            asked.append(command)
            return subprocess.CompletedProcess(command, 1, "", said)

        monkeypatch.setattr(wheel.subprocess, "run", run)
        with pytest.raises(RestemError) as caught:
            add_encoder("musicnn", folder=folder)
        first, second = str(caught.value).splitlines()
        assert first == "musicnn==0.1.0 could not be downloaded: No matching distribution found for musicnn==0.1.0."
        assert wheel.WHEEL in second
        assert "--no-deps" in asked[0]
        assert contents(folder) == []

    def test_what_pip_leaves_is_what_is_read(
        self, known_wheel: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
            Path(command[command.index("--dest") + 1], wheel.WHEEL).write_bytes(known_wheel.read_bytes())
            return subprocess.CompletedProcess(command, 0, "", "")

        monkeypatch.setattr(wheel.subprocess, "run", run)
        assert add_encoder("musicnn-vgg", folder=folder).name == "musicnn-vgg"

    def test_what_fails_when_tried_leaves_nothing(
        self, known_wheel: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise RestemError("tried")

        monkeypatch.setattr(adding, "_try", fail)
        with pytest.raises(RestemError, match="tried"):
            add_encoder("musicnn-vgg", wheel=known_wheel, folder=folder)
        assert contents(folder) == []

    def test_a_folder_that_cannot_be_written(self, known_wheel: Path, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(RestemError, match="cannot be written"):
            add_encoder("musicnn-vgg", wheel=known_wheel, folder=tmp_path / "file" / "encoders")


class TestFiles:
    @pytest.fixture
    def model(self, write_onnx: Callable[..., Path]) -> Path:
        pytest.importorskip("onnxruntime")
        return write_onnx(np.arange(12).reshape(4, 3), ["batch", 4])

    @pytest.mark.parametrize("suffix", [".yaml", ".json"])
    def test_the_card_may_lie_beside(self, model: Path, folder: Path, suffix: str) -> None:
        model.with_suffix(suffix).write_text(json.dumps(CARD))
        card = add_encoder(str(model), folder=folder)
        assert (card.kind, card.name) == ("onnx", "mine")
        assert contents(folder / "mine") == ["card.json", "model.onnx"]
        assert add_encoder(str(model), folder=folder) == card

    def test_without_a_card(self, model: Path, folder: Path) -> None:
        with pytest.raises(UsageError, match=r"needs a card, model\.yaml"):
            add_encoder(str(model), folder=folder)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"embedding": "nothing"}, "has no tensor 'nothing'"),
            ({"embedding": None}, "lacks the key embedding"),
            ({"embedding_size": 7}, "has 3 numbers; its card says 7"),
            ({"window_samples": 5}, "takes 4 samples"),
            ({"licence": None}, "lacks the key licence"),
            ({"color": "red"}, "unknown key color"),
            ({"rate_hz": "fast"}, "rate_hz must be a whole number"),
            ({"rate_hz": 10}, "rate_hz must be from 1000"),
            ({"name": "../mine"}, "cannot be the name of an encoder"),
            ({"sha256": "0" * 64}, "another file than the one its card describes"),
        ],
    )
    def test_a_card_that_does_not_fit(self, model: Path, folder: Path, change: dict, message: str) -> None:
        model.with_suffix(".json").write_text(json.dumps({**CARD, **change}))
        with pytest.raises(RestemError, match=message):
            add_encoder(str(model), folder=folder)
        assert contents(folder) == []

    @pytest.mark.parametrize("text", ["{", "- 1\n- 2", "name: [", ""])
    def test_a_card_that_is_none(self, model: Path, folder: Path, text: str) -> None:
        model.with_suffix(".yaml").write_text(text)
        with pytest.raises(RestemError, match=r"model\.yaml: is no"):
            add_encoder(str(model), folder=folder)

    def test_another_of_the_same_name(self, model: Path, folder: Path, write_onnx: Callable[..., Path]) -> None:
        model.with_suffix(".json").write_text(json.dumps(CARD))
        first = add_encoder(str(model), folder=folder)
        other = write_onnx(np.ones((4, 3)) + np.eye(4, 3), ["batch", 4], "other.onnx")
        with pytest.raises(RestemError, match="another encoder of this name"):
            add_encoder(str(other), card=model.with_suffix(".json"), folder=folder)
        assert installed(folder) == {"mine": first}

    @pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
    def test_nonsense(self, folder: Path, tmp_path: Path, suffix: str) -> None:
        pytest.importorskip({".onnx": "onnxruntime", ".tflite": "ai_edge_litert"}[suffix])
        path = tmp_path / f"nonsense{suffix}"
        path.write_bytes(b"nonsense" * 100)
        path.with_suffix(".json").write_text(json.dumps(CARD))
        with pytest.raises(RestemError, match="cannot be read as a"):
            add_encoder(str(path), folder=folder)
        assert contents(folder) == []

    def test_a_file_that_is_not_there(self, folder: Path) -> None:
        with pytest.raises(RestemError, match="no such file"):
            add_encoder("nowhere.onnx", folder=folder)


@pytest.mark.parametrize(("what", "message"), [("yamnet", "file that you bring"), ("nonsense", "neither")])
def test_what_is_neither(what: str, message: str, folder: Path) -> None:
    with pytest.raises(UsageError, match=message):
        add_encoder(what, folder=folder)


class TestInstalled:
    def test_nothing_is(self, folder: Path) -> None:
        assert installed(folder) == {}

    @pytest.mark.parametrize(
        ("name", "remedy"), [("musicnn", "encoders add musicnn"), ("../x", "lists"), ("", "lists")]
    )
    def test_loading_what_is_not(self, folder: Path, name: str, remedy: str) -> None:
        with pytest.raises(UsageError, match=remedy):
            load_encoder(name, folder)

    def test_broken_ones_are_left_out(self, known_wheel: Path, folder: Path) -> None:
        card = add_encoder("musicnn-vgg", wheel=known_wheel, folder=folder)
        for name, text in {"a": "{", "b": "{}", "c": json.dumps(card.to_json())}.items():
            (folder / name).mkdir()
            (folder / name / "card.json").write_text(text)
        assert list(installed(folder)) == ["musicnn-vgg"]

    def test_changed_weights_are_refused(self, known_wheel: Path, folder: Path) -> None:
        add_encoder("musicnn-vgg", wheel=known_wheel, folder=folder)
        with (folder / "musicnn-vgg" / "model.safetensors").open("ab") as file:
            file.write(b"x")
        with pytest.raises(RestemError, match="is not what its card says"):
            load_encoder("musicnn-vgg", folder)

    def test_the_folder_may_be_another(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        assert encoders_folder().name == "encoders"
        monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "mine"))
        assert encoders_folder() == tmp_path / "mine"


class TestCards:
    def test_what_is_written_is_read(self) -> None:
        for card in KNOWN.values():
            assert card_from(json.loads(json.dumps(card.to_json())), "x") == card

    @pytest.mark.parametrize("name", ["", "-x", ".x", "a/b", "ä", "x" * 65, "a b"])
    def test_names_that_are_none(self, name: str) -> None:
        with pytest.raises(UsageError):
            EncoderCard(name, "onnx", 16000, 16000, 10, "CC0")

    def test_what_an_embedding_depends_on(self) -> None:
        card = KNOWN["yamnet"]
        assert set(card.identity) == {"kind", "rate_hz", "window_samples", "embedding", "sha256"}

"""Damaged and malicious models and YAML: refused in one line, before they take time or memory."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

from restem.audio.mel import MelSettings
from restem.cli.main import run_command
from restem.errors import RestemError, TaxonomyError, UsageError
from restem.labelling.classifier import ClassifierConfig, load_classifier, save_classifier
from restem.labelling.encoders.adding import add_encoder
from restem.labelling.network import ClassifierSettings
from restem.plain_yaml import parse_yaml
from restem.separation.models import MODELS, Shape, build_network, default_parameters, parse_parameters
from restem.separation.separator import SeparatorConfig, load_separator, save_separator
from restem.taxonomy import read_taxonomy
from restem.weights import check_size

NETWORK = ClassifierSettings(depths=(1, 1), widths=(8, 16), patch=(4, 4))
SMALL = {"n_fft": 256, "hop": 128, "bands": 12, "width": 8, "depth": 1}


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    config = ClassifierConfig(("a", "b"), MelSettings(bands=16, high_hz=3800.0), NETWORK, segment_s=1.0)
    save_classifier(tmp_path / "classifier", config.build())
    return tmp_path / "classifier"


@pytest.fixture
def separator(tmp_path: Path) -> Path:
    config = SeparatorConfig("band_split", ("vocals", "drums"), rate_hz=8000, segment_s=0.5, parameters=SMALL)
    save_separator(tmp_path / "separator", config, config.build().network.state_dict())
    return tmp_path / "separator"


KINDS = pytest.mark.parametrize(("kind", "load"), [("classifier", load_classifier), ("separator", load_separator)])


@KINDS
@pytest.mark.parametrize(
    "harm",
    [
        lambda x: torch.full_like(x, torch.nan),
        lambda x: torch.where(torch.arange(x.numel()).reshape(x.shape) == 0, torch.inf, x),
        lambda x: torch.full(x.shape, 1e300, dtype=torch.float64),
        lambda x: torch.ones_like(x, dtype=torch.int64),
        lambda x: torch.ones_like(x, dtype=torch.uint8),
        lambda x: torch.ones_like(x, dtype=torch.bool),
        lambda x: x.to(torch.complex64),
        lambda x: x[:0],
        lambda x: x[None],
    ],
)
def test_weights_that_are_not_numbers_of_the_network(
    request: pytest.FixtureRequest, kind: str, load: Callable, harm: Callable
) -> None:
    folder = request.getfixturevalue(kind)
    file = folder / "model.safetensors"
    weights = {name: tensor.clone() for name, tensor in safetensors.torch.load_file(file).items()}
    load(folder)
    for name in list(weights)[:: max(1, len(weights) // 5)]:
        file.write_bytes(safetensors.torch.save({**weights, name: harm(weights[name])}))
        with pytest.raises(RestemError, match=rf"the {kind} is damaged or of another version \(.+\)") as caught:
            load(folder)
        assert len(str(caught.value).splitlines()) == 1 and str(folder) in str(caught.value)


HOSTILE_VALUES = (
    None, True, "x", "", -1, 0, 0.5, 10**9, 10**30, 1e308, float("nan"), float("inf"), [], [1], [10**9], {}, {"a": 1},
    ["a"] * 3, [None], "../../x", "a\0b",
)  # fmt: skip


def places(content: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of all values in nested dictionaries."""
    if not isinstance(content, dict):
        return [path]
    return [path, *(one for key, value in content.items() for one in places(value, (*path, key)))]


@KINDS
def test_fuzzed_configurations(request: pytest.FixtureRequest, kind: str, load: Callable) -> None:
    """Every value replaced by others that it cannot be: loaded as it was, or refused in a line; no time, no memory."""
    folder = request.getfixturevalue(kind)
    content = json.loads((folder / "config.json").read_text())
    refused = 0
    for path in places(content):
        for value in HOSTILE_VALUES:
            changed = copy.deepcopy(content) if path else value
            if path:
                inside = changed
                for key in path[:-1]:
                    inside = inside[key]
                inside[path[-1]] = value
            (folder / "config.json").write_text(json.dumps(changed))
            try:
                load(folder)
            except RestemError as error:
                refused += 1
                assert str(folder) in str(error) and len(str(error).splitlines()) == 1
    assert refused > 100


@KINDS
@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a":' * 5000, "9" * 10_000, "null", "[]", '"x"', "\0"])
def test_what_is_not_a_configuration(request: pytest.FixtureRequest, kind: str, load: Callable, text: str) -> None:
    folder = request.getfixturevalue(kind)
    (folder / "config.json").write_text(text)
    with pytest.raises(RestemError, match="damaged or of another version"):
        load(folder)


@KINDS
def test_flipped_bytes(request: pytest.FixtureRequest, kind: str, load: Callable) -> None:
    """Of the file of weights: a header that cannot be, or weights that are other numbers, never a fault."""
    folder, drawn = request.getfixturevalue(kind), random.Random(0)
    file = folder / "model.safetensors"
    content = file.read_bytes()
    for _ in range(100):
        flipped = bytearray(content)
        flipped[drawn.randrange(min(len(content), 2000))] ^= 1 << drawn.randrange(8)
        file.write_bytes(flipped)
        try:
            load(folder)
        except RestemError as error:
            assert str(folder) in str(error)


class TestSizes:
    @pytest.mark.parametrize("model", MODELS)
    def test_of_every_model(self, model: str) -> None:
        """One after the other, each number of a model made enormous: refused, or a network that fits into memory."""
        if model != "band_split":
            pytest.importorskip("demucs" if "demucs" in model else "bs_roformer")
        defaults = default_parameters(model)
        shape = Shape(("vocals", "drums"), 2, 44100, MODELS[model].segment_s)
        numbers = [name for name, value in defaults.items() if type(value) is int]
        for name in numbers:
            with pytest.raises(UsageError, match="cannot be built with these parameters"):
                build_network(model, shape, {**defaults, name: 10**9})

    def test_sizes_that_are_large_together_only(self) -> None:
        shape = Shape(("vocals", "drums"), 2, 44100, 2.0)
        with pytest.raises(UsageError, match=r"the network would have [\d,]{13,} weights"):
            build_network("band_split", shape, {"width": 8192, "depth": 200})

    def test_counting_draws_nothing(self) -> None:
        """A network is the same whether it was counted before or not."""
        torch.manual_seed(0)
        first = torch.rand(3)
        torch.manual_seed(0)
        check_size(lambda: torch.nn.Linear(100, 100))
        assert torch.equal(torch.rand(3), first)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(12)
)
YAML_FAULTS = (
    BOMB, "vocals: [2020-13-45]", "vocals: [0b_]", "vocals: [!!int x]", "vocals: [!!float x]", "vocals: [!!bool x]",
    "vocals: [!!timestamp x]", "vocals: [!!python/name:os.system]", "vocals: [!!binary '*']", "vocals: !!set {a, b}",
    "vocals: [" + "9" * 5000 + "]", "vocals: " + "[" * 2000, "&a [*a]", "vocals: &a [*a]", "? [a, b]\n: [c]",
    "? {a: b}\n: [c]", "vocals: [a]\nvocals: [b]", "--- a\n--- b", "vocals: [\x01]", "{", "a: b: c", "<<: 1", "%x",
    "vocals: [[lead]]", "vocals: [{lead: 1}]", "vocals: {lead: 1}", "vocals: [yes]", "vocals: [1.5]", "vocals: [~]",
    "=: [a]", "vocals: [=]", "1: [a]", "~: [a]", "yes: [a]", "[vocals]", "vocals", "5", "''",
)  # fmt: skip


class TestYaml:
    @pytest.mark.parametrize("text", YAML_FAULTS)
    def test_what_is_not_a_taxonomy(
        self, tmp_path: Path, text: str, write_band: Callable, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        with pytest.raises(TaxonomyError) as caught:
            read_taxonomy(str(path))
        assert str(path) in str(caught.value) and len(str(caught.value).splitlines()) == 1
        assert len(str(caught.value)) < 500 + len(str(path))
        assert run_command(["scan", str(write_band(tmp_path / "songs", 1, 0.1)), "--classes", str(path)]) == 1
        assert "fault" not in capsys.readouterr().err

    @pytest.mark.parametrize("text", [text.partition(": ")[2] or text for text in YAML_FAULTS])
    def test_what_is_not_a_parameter(self, text: str) -> None:
        with pytest.raises(UsageError) as caught:
            parse_parameters("band_split", [f"width={text}", "x=1"])
        assert len(str(caught.value)) < 500

    @pytest.mark.parametrize("text", YAML_FAULTS)
    def test_what_is_not_the_card_of_an_encoder(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "model.tflite").write_bytes(b"x")
        (tmp_path / "model.yaml").write_text(text)
        with pytest.raises(RestemError) as caught:
            add_encoder(str(tmp_path / "model.tflite"), folder=tmp_path / "encoders")
        assert "model.yaml" in str(caught.value) and len(str(caught.value).splitlines()) == 1

    def test_a_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "mine.yaml")
        with pytest.raises(TaxonomyError, match=r"mine\.yaml: .*not an ordinary file"):
            read_taxonomy(str(tmp_path / "mine.yaml"))

    def test_plain_values_are_those_of_yaml(self) -> None:
        """What people write is read as it always was."""
        for text in (
            "a: [b, 'c d', 3]\ne:\n",
            "1",
            "[1, 2.5, x]",
            "true",
            "",
            "{a: {b: [c]}}",
            '{"a": [1, null]}',
            "~",
        ):
            assert parse_yaml(text) == yaml.safe_load(text)

    def test_fuzzed(self) -> None:
        """Any text is read or refused with a ValueError."""
        drawn = np.random.default_rng(0)
        pieces = [
            *"abc019 :,-[]{}&*!?|>'\"%@`#~.=<\n\t",
            "\n  ",
            ": ",
            "- ",
            "!!",
            "<<",
            "0x",
            "&a ",
            "*a",
            "2020-01-01",
        ]
        for _ in range(3000):
            text = "".join(drawn.choice(pieces, drawn.integers(1, 20)))
            try:
                parse_yaml(text)
            except ValueError as error:
                assert len(str(error).splitlines()) <= 1

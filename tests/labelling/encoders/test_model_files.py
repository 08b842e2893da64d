"""Encoders in files: what ONNX and TensorFlow Lite give is what is in the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from restem.errors import RestemError, UsageError
from restem.labelling.encoders.interface import EncoderCard
from restem.labelling.encoders.model_files import open_model_file
from restem.labelling.encoders.registry import KNOWN

YAMNET = Path(__file__).parents[4] / "shared" / "data" / "encoders" / "yamnet.tflite"
MATRIX = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
CARD = EncoderCard("mine", "onnx", 1000, 4, 3, "CC0", embedding="inner", tags="scores")
SOUND = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)


class TestOnnx:
    @pytest.fixture(autouse=True)
    def _needs_it(self) -> None:
        pytest.importorskip("onnxruntime", reason="pip install 'restem[encoders]'")

    @pytest.mark.parametrize("shape", [["batch", 4], [1, 4], [4], ["batch", 1, 4], ["batch", "time"]])
    def test_an_inner_tensor_and_an_output(self, write_onnx: Callable[..., Path], shape: list) -> None:
        encoder = open_model_file(CARD, write_onnx(MATRIX, shape))
        np.testing.assert_allclose(encoder.embed(SOUND), SOUND @ MATRIX, rtol=1e-5)
        np.testing.assert_allclose(encoder.tag(SOUND), 1 / (1 + np.exp(-SOUND @ MATRIX)), rtol=1e-5)

    def test_an_output_by_its_number(self, write_onnx: Callable[..., Path]) -> None:
        path = write_onnx(MATRIX, ["batch", 4])
        encoder = open_model_file(replace(CARD, embedding=0), path)
        np.testing.assert_allclose(encoder.embed(SOUND), 1 / (1 + np.exp(-SOUND @ MATRIX)), rtol=1e-5)
        with pytest.raises(UsageError, match="outputs 0 to 0"):
            open_model_file(replace(CARD, embedding=1), path)

    def test_windows_of_another_length(self, write_onnx: Callable[..., Path]) -> None:
        encoder = open_model_file(CARD, write_onnx(MATRIX, ["batch", 4]))
        with pytest.raises(UsageError, match=r"shape \(batch, 4\), not \(5, 3\)"):
            encoder.embed(SOUND[:, :3])
        assert encoder.embed(SOUND[:0]).shape == (0, 3)

    def test_numbers_that_are_not_finite(self, write_onnx: Callable[..., Path]) -> None:
        encoder = open_model_file(CARD, write_onnx(np.full((4, 3), np.inf), ["batch", 4]))
        with pytest.raises(RestemError, match="not finite"):
            encoder.embed(SOUND)

    def test_without_tags(self, write_onnx: Callable[..., Path]) -> None:
        encoder = open_model_file(replace(CARD, tags=None), write_onnx(MATRIX, ["batch", 4]))
        with pytest.raises(UsageError, match="has no tags"):
            encoder.tag(SOUND)


@pytest.mark.real
@pytest.mark.skipif(not YAMNET.exists(), reason="yamnet.tflite is not in ../shared/data/encoders")
class TestYamnet:
    @pytest.fixture(autouse=True)
    def _needs_it(self) -> None:
        pytest.importorskip("ai_edge_litert", reason="pip install 'restem[encoders]'")

    @pytest.fixture
    def sound(self) -> np.ndarray:
        time_s = np.arange(15600) / 16000
        tone = 0.3 * np.sin(2 * np.pi * 440 * time_s)
        return np.stack([tone, 0.1 * np.random.default_rng(0).standard_normal(15600), 0 * tone]).astype(np.float32)

    def test_the_embedding_is_what_the_scores_are_made_of(self, sound: np.ndarray) -> None:
        """The last layer, from the numbers in the file, on the embedding gives the scores that the file gives."""
        from ai_edge_litert.interpreter import Interpreter

        encoder = open_model_file(KNOWN["yamnet"], YAMNET)
        embedding, scores = encoder.embed(sound), encoder.tag(sound)
        assert (embedding.shape, scores.shape) == ((3, 1024), (3, 521))
        assert embedding.min() == 0
        interpreter = Interpreter(str(YAMNET), experimental_preserve_all_tensors=True)
        interpreter.allocate_tensors()
        details = {one["name"]: one for one in interpreter.get_tensor_details()}
        weights = details["yamnet_frames/dense/MatMul"]
        scale = weights["quantization_parameters"]["scales"]
        matrix = interpreter.get_tensor(weights["index"]).astype(np.float64) * scale.reshape(-1, 1)
        bias = interpreter.get_tensor(details["yamnet_frames/dense/BiasAdd/ReadVariableOp/resource"]["index"])
        expected = 1 / (1 + np.exp(-(embedding @ matrix.T + bias)))
        # The interpreter rounds the embedding to 8 bits before it multiplies.
        np.testing.assert_allclose(scores, expected, atol=0.03)

    def test_a_window_does_not_depend_on_others(self, sound: np.ndarray) -> None:
        encoder = open_model_file(KNOWN["yamnet"], YAMNET)
        together = encoder.embed(sound)
        np.testing.assert_array_equal(together[::-1], encoder.embed(sound[::-1]))

    def test_says_nothing(self, capfd: pytest.CaptureFixture[str]) -> None:
        open_model_file(KNOWN["yamnet"], YAMNET)
        assert capfd.readouterr() == ("", "")

    def test_a_tensor_that_is_not_there(self) -> None:
        for embedding in ("nothing", 10_000):
            with pytest.raises(UsageError, match="has no tensor"):
                open_model_file(replace(KNOWN["yamnet"], embedding=embedding), YAMNET)

    def test_a_truncated_file(self, tmp_path: Path) -> None:
        path = tmp_path / "half.tflite"
        path.write_bytes(YAMNET.read_bytes()[:2_000_000])
        with pytest.raises(RestemError, match=r"cannot be read as a \.tflite model"):
            open_model_file(KNOWN["yamnet"], path)

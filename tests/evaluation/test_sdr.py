from __future__ import annotations

import warnings

import numpy as np
import pytest

from restem.evaluation.sdr import SdrMeter, framewise_sdr, global_sdr, si_sdr

RATE_HZ = 2000


def example(sources: int = 2, channels: int = 2, samples: int = 6500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """References, and estimates that mix them up a little and add noise."""
    rng = np.random.default_rng(seed)
    references = rng.standard_normal((sources, channels, samples))
    mixing = np.eye(sources) + 0.2 * rng.standard_normal((sources, sources))
    return references, np.einsum("ij,jcn->icn", mixing, references) + 0.1 * rng.standard_normal(references.shape)


def by_museval(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """(source, frame)."""
    museval = pytest.importorskip("museval", reason="museval needs ffmpeg", exc_type=Exception)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: np.ndarray = museval.evaluate(
            references.transpose(0, 2, 1), estimates.transpose(0, 2, 1), win=RATE_HZ, hop=RATE_HZ
        )[0]
    return found


class TestAgainstMuseval:
    @pytest.mark.parametrize(
        ("sources", "channels", "samples"),
        [(2, 2, 6500), (3, 1, 4000), (2, 2, 1200), (2, 2, 2000), (2, 1, 2001)],
    )
    def test_random(self, sources: int, channels: int, samples: int) -> None:
        references, estimates = example(sources, channels, samples)
        expected = by_museval(references, estimates)
        found = framewise_sdr(references, estimates, RATE_HZ)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-6

    @pytest.mark.parametrize("silent", ["reference", "estimate", "opposite channels"])
    def test_silent_frames(self, silent: str) -> None:
        references, estimates = example()
        if silent == "estimate":
            estimates[1, :, 2000:4000] = 0.0
        else:
            references[0, :, 2000:4000] = 0.0
        if silent == "opposite channels":
            references[0, :, 2000:4000] = np.array([[0.5], [-0.5]])
        found, expected = framewise_sdr(references, estimates, RATE_HZ), by_museval(references, estimates)
        assert np.isnan(found[:, 1]).all() and np.isfinite(found[:, [0, 2]]).all()
        assert np.allclose(found, expected, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("block", [1, 999, 2000, 5000])
def test_blocks_do_not_matter(block: int) -> None:
    references, estimates = example(samples=4100)
    meter = SdrMeter(RATE_HZ, 2)
    for start in range(0, 4100, block):
        meter.add(references[:, :, start : start + block], estimates[:, :, start : start + block])
    assert np.allclose(meter.global_sdr(), global_sdr(references, estimates), atol=1e-9)
    assert np.allclose(meter.framewise_sdr(), framewise_sdr(references, estimates, RATE_HZ), atol=1e-9)
    assert np.allclose(meter.median_sdr(), np.median(meter.framewise_sdr(), axis=1))
    assert np.allclose(meter.si_sdr(), si_sdr(references, estimates), atol=1e-9)


class TestClosedForms:
    def test_a_wrong_gain(self) -> None:
        references, _ = example()
        assert np.allclose(global_sdr(references, 0.9 * references), 20.0, atol=1e-6)
        assert (si_sdr(references, 0.9 * references) > 100.0).all()

    def test_noise_of_a_known_level(self) -> None:
        references, _ = example(samples=100_000)
        noise = np.random.default_rng(1).standard_normal(references.shape)
        for measure in (global_sdr, si_sdr):
            assert np.allclose(measure(references, references + 0.1 * noise), 20.0, atol=0.1)
        assert np.allclose(
            si_sdr(references, 5 * (references + 0.1 * noise)), si_sdr(references, references + 0.1 * noise)
        )

    def test_silence(self) -> None:
        references, estimates = example()
        references[0] = 0.0
        for found in (global_sdr(references, estimates), si_sdr(references, estimates)):
            assert np.isnan(found[0]) and np.isfinite(found[1])
        # Saying nothing where something sounds is 0 dB, not undefined.
        assert global_sdr(references, np.zeros_like(references))[1] == pytest.approx(0.0, abs=1e-6)

    def test_perfect(self) -> None:
        references, _ = example(samples=4000)
        assert (framewise_sdr(references, references, RATE_HZ) == np.inf).all()
        assert (global_sdr(references, references) > 90.0).all()


def test_refused() -> None:
    references, estimates = example()
    with pytest.raises(ValueError, match="do not fit"):
        global_sdr(references, estimates[:, :, :-1])
    estimates[0, 0, 5] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        global_sdr(references, estimates)

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.fft
from hypothesis import given
from hypothesis import strategies as st

from restem.audio.mel import MelSettings, mel_power, mel_weights

SETTINGS = MelSettings()
RATES_HZ = (44100, 48000, 8000, 96000)


def mel(samples: np.ndarray, rate_hz: int, settings: MelSettings = SETTINGS) -> np.ndarray:
    """(frame, band) of samples that come in one block."""
    return np.concatenate(list(mel_power([np.atleast_2d(samples).astype(np.float32)], rate_hz, settings)))


def band_centres_hz(settings: MelSettings = SETTINGS) -> np.ndarray:
    low, high = (2595 * math.log10(1 + f / 700) for f in (settings.low_hz, settings.high_hz))
    steps = [low + (high - low) * n / (settings.bands + 1) for n in range(settings.bands + 2)]
    return np.array([700 * (10 ** (mel / 2595) - 1) for mel in steps])


def reference(samples: np.ndarray, rate_hz: int, settings: MelSettings) -> np.ndarray:
    """What the docstring of `restem.audio.mel` says, one number after another in double precision."""
    length = round(settings.frame_s * rate_hz)
    size = scipy.fft.next_fast_len(length, real=True)
    window = np.array([0.5 - 0.5 * math.cos(2 * math.pi * n / length) for n in range(length)])
    edges_hz = band_centres_hz(settings)
    frames = []
    start, index = 0, 0
    while start < samples.shape[1]:
        bands = [0.0] * settings.bands
        for channel in samples.astype(np.float64):
            piece = np.zeros(size)
            available = channel[start : start + length]
            piece[: len(available)] = available
            piece[:length] *= window
            spectrum = np.fft.rfft(piece)
            for k, value in enumerate(spectrum):
                frequency_hz = k * rate_hz / size
                for band in range(settings.bands):
                    low, centre, high = edges_hz[band : band + 3]
                    if low < frequency_hz < high:
                        rising = (frequency_hz - low) / (centre - low)
                        falling = (high - frequency_hz) / (high - centre)
                        bands[band] += min(rising, falling) * abs(value) ** 2
        scale = 2 / (size * sum(window**2)) / len(samples)
        frames.append([scale * power for power in bands])
        index += 1
        start = round(index * settings.hop_s * rate_hz)
    return np.array(frames)


@pytest.mark.parametrize(("rate_hz", "channels"), [(8000, 1), (11025, 2), (44100, 1), (48000, 3)])
def test_equals_a_direct_computation(rate_hz: int, channels: int) -> None:
    settings = MelSettings(bands=12, low_hz=60.0, high_hz=5000.0)
    samples = np.random.default_rng(0).standard_normal((channels, round(0.17 * rate_hz))).astype(np.float32)
    expected = reference(samples, rate_hz, settings)
    found = mel(samples, rate_hz, settings)
    assert found.shape == expected.shape and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * expected.max())


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("frequency_hz", [150.0, 1000.0, 3000.0])
def test_power_of_a_tone_lies_in_its_bands_and_is_its_mean_square(rate_hz: int, frequency_hz: float) -> None:
    amplitude = 0.3
    time_s = np.arange(rate_hz) / rate_hz
    power = mel(amplitude * np.sin(2 * np.pi * frequency_hz * time_s + 0.5), rate_hz)
    whole = power[: int((1.0 - SETTINGS.frame_s) / SETTINGS.hop_s)]
    np.testing.assert_allclose(whole.sum(axis=1), amplitude**2 / 2, rtol=2e-3)
    edges_hz = band_centres_hz()
    # The main lobe of a Hann window is two bins wide on each side; a triangle gets something of what is within it.
    lobe_hz = 2 / SETTINGS.frame_s
    near = (edges_hz[:-2] < frequency_hz + lobe_hz) & (edges_hz[2:] > frequency_hz - lobe_hz)
    assert (whole[:, near].sum(axis=1) > 0.999 * whole.sum(axis=1)).all()
    assert (np.abs(edges_hz[1:-1][whole.argmax(axis=1)] - frequency_hz) < 100).all()


def test_bands_above_the_nyquist_frequency_are_empty() -> None:
    power = mel(np.random.default_rng(0).standard_normal(8000), 8000)
    above = band_centres_hz()[:-2] > 4000
    assert above.sum() > 10
    assert (power[:, above] == 0).all()
    assert (power[:10, ~above] > 0).all()


def test_44_and_48_khz_land_on_the_same_grid() -> None:
    """A swelling chord: the same sound sampled at other rates gives nearly the same numbers, without resampling.

    Nearly: the frequencies of a transform lie elsewhere, so a triangle cuts the lobe of a tone at other places.
    """

    def sound(rate_hz: int) -> np.ndarray:
        time_s = np.arange(2 * rate_hz) / rate_hz
        swell = 0.55 + 0.45 * np.sin(2 * np.pi * 2 * time_s)
        return swell * sum(np.sin(2 * np.pi * f * time_s + f) for f in 110.0 * np.arange(1, 100)) / 100

    power = {rate_hz: mel(sound(rate_hz), rate_hz) for rate_hz in (44100, 48000, 96000)}
    frames = 100
    assert {found.shape for found in power.values()} == {(frames, SETTINGS.bands)}
    # The last frames are padded: there it matters where exactly the sound ends.
    inner = slice(0, frames - 3)
    expected = power[44100][inner]
    loud = expected > 0.03 * expected.max(axis=1, keepdims=True)
    assert loud.mean() > 0.3
    for rate_hz in (48000, 96000):
        found = power[rate_hz][inner]
        np.testing.assert_allclose(found.sum(axis=1), expected.sum(axis=1), rtol=0.005)
        difference_db = np.abs(10 * np.log10(found[loud] / expected[loud]))
        assert np.median(difference_db) < 0.05
        assert difference_db.max() < 1.0


NOISE = np.random.default_rng(1).standard_normal((2, 6000)).astype(np.float32)


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=12), st.sampled_from([8000, 11025]))
def test_blocks_make_no_difference(sizes: list[int], rate_hz: int) -> None:
    samples = NOISE[:, : sum(sizes)]
    edges = np.minimum(np.cumsum([0, *sizes]), samples.shape[1])
    blocks = [samples[:, a:b] for a, b in pairwise(edges) if b > a]
    found = np.concatenate(list(mel_power(blocks, rate_hz, SETTINGS)))
    expected = mel(samples, rate_hz)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_frames_may_lie_apart() -> None:
    """A hop longer than a frame: what lies between two frames is in neither."""
    settings = MelSettings(frame_s=0.01, hop_s=0.05, bands=8)
    expected = mel(NOISE, 8000, settings)
    found = np.concatenate(list(mel_power(np.split(NOISE, range(70, 6000, 70), axis=1), 8000, settings)))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert len(found) == 15


@given(st.integers(1, 40000), st.sampled_from([8000, 11025, 22050, 44100, 48000, 96000]))
def test_a_frame_for_every_hop_begun(samples: int, rate_hz: int) -> None:
    settings = MelSettings(bands=2)
    assert len(mel(np.zeros(samples), rate_hz, settings)) == math.ceil(round(samples / (0.02 * rate_hz), 9))


def test_opposite_channels_do_not_cancel() -> None:
    mono = NOISE[:1]
    np.testing.assert_allclose(mel(np.concatenate((mono, -mono)), 8000), mel(mono, 8000), rtol=1e-6)
    half = mel(np.concatenate((mono, np.zeros_like(mono))), 8000)
    np.testing.assert_allclose(half, mel(mono, 8000) / 2, rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 8])
def test_one_sample(channels: int) -> None:
    power = mel(np.full((channels, 1), 0.5), 44100)
    assert power.shape == (1, SETTINGS.bands)
    assert np.isfinite(power).all() and (power >= 0).all()


def test_silence_is_zero_and_no_blocks_are_no_frames() -> None:
    assert (mel(np.zeros(4000), 8000) == 0).all()
    assert list(mel_power([], 8000, SETTINGS)) == []


@given(st.floats(1e-6, 1e6))
def test_power_grows_with_the_square(gain: float) -> None:
    np.testing.assert_allclose(
        mel(gain * NOISE[:, :1000].astype(np.float64), 8000), gain**2 * mel(NOISE[:, :1000], 8000), rtol=1e-4
    )


def test_triangles_add_up_to_one_between_the_outer_centres() -> None:
    size = 4000
    weights = mel_weights(44100, size, SETTINGS).astype(np.float64).sum(axis=1)
    frequencies_hz = np.arange(size // 2 + 1) * 44100 / size
    centres_hz = band_centres_hz()[1:-1]
    between = (frequencies_hz >= centres_hz[0]) & (frequencies_hz <= centres_hz[-1])
    np.testing.assert_allclose(weights[between] / weights[between].mean(), 1.0, rtol=1e-5)
    assert (weights[frequencies_hz < SETTINGS.low_hz] == 0).all()
    assert (weights[frequencies_hz > SETTINGS.high_hz] == 0).all()


def test_power_of_uncorrelated_sounds_adds() -> None:
    """Frame by frame there are cross terms; they have mean zero, so the error falls as one over the root of the time.

    With two noises of equal power P, a cross term 2 Re(A B*) has the standard deviation sqrt(2) P, 0.71 of the sum.
    """
    rate_hz, frames = 16000, 4096
    rng = np.random.default_rng(2)
    one, other = rng.standard_normal((2, round(frames * SETTINGS.hop_s * rate_hz)))
    apart = mel(one, rate_hz).astype(np.float64) + mel(other, rate_hz)
    together = mel(one + other, rate_hz).astype(np.float64)
    inside = band_centres_hz()[2:] < 8000
    error = {}
    for length in (1, 16, 256):
        means = [power[:, inside].reshape(-1, length, inside.sum()).mean(axis=1) for power in (together, apart)]
        error[length] = np.sqrt(np.mean((means[0] / means[1] - 1) ** 2))
    assert error[1] < 0.75
    # Neighbouring frames overlap by more than half, so the gain of the first sixteen is a little less than four.
    assert 2.0 < error[1] / error[16] < 4.0
    assert error[16] / error[256] == pytest.approx(4.0, rel=0.2)
    assert error[256] < 0.06

"""The building blocks against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from restem.synth import effects, signals

RATE_HZ = 44100


def loudest_hz(sound: np.ndarray, rate_hz: int, low_hz: float, high_hz: float) -> float:
    """The strongest frequency in a range, from a zero-padded spectrum."""
    size = 1 << 19
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), size))
    hertz = np.fft.rfftfreq(size, 1.0 / rate_hz)
    return float(hertz[np.argmax(spectrum * ((hertz > low_hz) & (hertz < high_hz)))])


def test_damped_partials_are_the_sum_of_damped_sines() -> None:
    frequencies, decays = np.array([110.0, 331.7, 5000.0]), np.array([2.0, 0.5, 0.1])
    amplitudes, phases = np.array([1.0, 0.5, 0.2]), np.array([0.0, 1.0, 2.0])
    time = np.arange(10_001) / RATE_HZ
    expected = sum(
        a * 10.0 ** (-3.0 * time / d) * np.sin(2.0 * np.pi * f * time + p)
        for f, d, a, p in zip(frequencies, decays, amplitudes, phases, strict=True)
    )
    found = signals.damped_partials(frequencies, decays, amplitudes, 10_001, RATE_HZ, phases)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_partials_above_the_nyquist_frequency_are_left_out() -> None:
    found = signals.damped_partials(np.array([30_000.0]), np.array([1.0]), np.array([1.0]), 1000, RATE_HZ)
    assert not found.any()


@pytest.mark.parametrize("frequency", [41.2, 110.0, 329.6, 987.8])
def test_a_plucked_string_is_in_tune(frequency: float) -> None:
    rng = np.random.default_rng(0)
    sound = signals.plucked_string(frequency, RATE_HZ, RATE_HZ, rng, decay_s=6.0)
    found = loudest_hz(sound, RATE_HZ, 0.9 * frequency, 1.1 * frequency)
    assert abs(1200.0 * np.log2(found / frequency)) < 3.0  # cents


def test_a_plucked_string_dies_in_its_decay_time() -> None:
    rng = np.random.default_rng(1)
    sound = signals.plucked_string(220.0, 2 * RATE_HZ, RATE_HZ, rng, decay_s=2.0, damping=0.0)
    early, late = (np.std(sound[start : start + 4410]) for start in (0, RATE_HZ))
    assert 20.0 * np.log10(early / late) == pytest.approx(30.0, abs=4.0)


def test_moving_filter_that_stands_still_equals_scipy() -> None:
    rng = np.random.default_rng(2)
    sound = rng.standard_normal(30_000)
    kernel = signal.firwin(101, 3000.0, fs=RATE_HZ)

    def response(bins: np.ndarray) -> np.ndarray:
        return signal.freqz(kernel, worN=bins, fs=RATE_HZ)[1].astype(np.complex64)

    found = signals.moving_filter(sound, RATE_HZ, response)
    np.testing.assert_allclose(found, signal.lfilter(kernel, 1.0, sound), atol=2e-5)


def test_moving_filter_follows_its_cutoff() -> None:
    rng = np.random.default_rng(3)
    sound = rng.standard_normal(RATE_HZ)
    count = signals.frame_count(len(sound), RATE_HZ)
    cutoff = np.where(np.arange(count) < count / 2, 200.0, 15_000.0)
    found = signals.moving_filter(sound, RATE_HZ, lambda bins: signals.lowpass_response(bins, cutoff, 0.7))
    half = len(sound) // 2
    assert np.std(found[half + 2000 :]) > 5.0 * np.std(found[: half - 2000])


def test_wavetable_holds_exactly_its_harmonics() -> None:
    table = signals.wavetable(np.array([1.0, 0.0, 0.5]))
    phase = signals.phase_of(np.full(4096, 64 * RATE_HZ / 4096), RATE_HZ)
    spectrum = np.abs(np.fft.rfft(signals.read_table(table, phase))) / 2048
    assert spectrum[64] == pytest.approx(1.0, abs=1e-4)
    assert spectrum[192] == pytest.approx(0.5, abs=1e-4)
    assert np.delete(spectrum, [64, 192]).max() < 1e-4


def test_stretch_equals_interp() -> None:
    curve = np.random.default_rng(4).standard_normal(40)
    expected = np.interp(np.arange(1000) / 32.0, np.arange(40), curve)
    np.testing.assert_allclose(signals.stretch(curve, 1000), expected)


def test_convolve_equals_numpy() -> None:
    rng = np.random.default_rng(5)
    sound, response = rng.standard_normal((2, 500)), rng.standard_normal((2, 60))
    expected = [np.convolve(a, b)[:500] for a, b in zip(sound, response, strict=True)]
    np.testing.assert_allclose(effects.convolve(sound, response), expected, atol=1e-9)


def test_limit_leaves_the_quiet_alone_and_bounds_the_loud() -> None:
    sound = np.linspace(-5.0, 5.0, 1001)
    found = effects.limit(sound, 1.0)
    assert np.abs(found).max() <= 1.0
    quiet = np.abs(sound) <= 0.5
    np.testing.assert_array_equal(found[quiet], sound[quiet])
    assert (np.diff(found) >= 0.0).all()


def test_silence_stays_silent_in_every_effect() -> None:
    silence = np.zeros((2, 4000), dtype=np.float32)
    rng = np.random.default_rng(6)
    for sound in (
        effects.limit(silence, 0.0),
        effects.compress(silence, RATE_HZ, threshold_db=-20.0, ratio=4.0),
        effects.room(silence, RATE_HZ, rng, decay_s=0.5, level_db=-10.0),
        effects.worn_tape(silence, RATE_HZ, rng),
        effects.drive(silence, 3.0),
    ):
        assert sound.shape == silence.shape
        assert not sound.any()

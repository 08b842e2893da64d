"""Audio effects: filters, saturation, compression, limiting, reverberation, delays, panning, tape.

Sounds are `(sample,)` or `(channel, sample)`; a function says which. All keep the length.
"""

from __future__ import annotations

import numpy as np
from scipy import fft, signal

from restem.synth.signals import Array, Generator, decibels, log_uniform, smooth_noise, stretch

_CONTROL_S = 0.002


def lowpass(sound: Array, rate_hz: int, cutoff_hz: float, order: int = 2) -> Array:
    """Butterworth low-pass along the last axis; bypassed for cutoffs near the Nyquist frequency."""
    if cutoff_hz >= 0.45 * rate_hz:
        return sound
    sections = signal.butter(order, cutoff_hz, "low", fs=rate_hz, output="sos")
    return np.asarray(signal.sosfilt(sections.astype(sound.dtype), sound))


def highpass(sound: Array, rate_hz: int, cutoff_hz: float, order: int = 2) -> Array:
    """Butterworth high-pass along the last axis."""
    cutoff = min(cutoff_hz, 0.44 * rate_hz)
    sections = signal.butter(order, cutoff, "high", fs=rate_hz, output="sos")
    return np.asarray(signal.sosfilt(sections.astype(sound.dtype), sound))


def bandpass(sound: Array, rate_hz: int, low_hz: float, high_hz: float, order: int = 1) -> Array:
    """Butterworth band-pass along the last axis."""
    high = min(high_hz, 0.44 * rate_hz)
    sections = signal.butter(order, (min(low_hz, 0.9 * high), high), "band", fs=rate_hz, output="sos")
    return np.asarray(signal.sosfilt(sections.astype(sound.dtype), sound))


def peak_sections(rate_hz: int, centre_hz: float, gain_db: float, quality: float) -> Array:
    """One peaking equaliser as second-order sections (Bristow-Johnson, Audio EQ Cookbook)."""
    amplitude = 10.0 ** (gain_db / 40.0)
    angle = 2.0 * np.pi * min(centre_hz, 0.45 * rate_hz) / rate_hz
    alpha = np.sin(angle) / (2.0 * quality)
    numerator = np.array([1.0 + alpha * amplitude, -2.0 * np.cos(angle), 1.0 - alpha * amplitude])
    denominator = np.array([1.0 + alpha / amplitude, -2.0 * np.cos(angle), 1.0 - alpha / amplitude])
    return np.asarray(np.concatenate((numerator, denominator))[None, :] / denominator[0])


def body_resonance(sound: Array, rate_hz: int, peaks: list[tuple[float, float, float]]) -> Array:
    """Peaking filters in series, each (centre in Hz, gain in dB, Q): an instrument's body, or a cabinet."""
    sections = np.vstack([peak_sections(rate_hz, *peak) for peak in peaks])
    return np.asarray(signal.sosfilt(sections.astype(sound.dtype), sound))


def random_equaliser(sound: Array, rate_hz: int, rng: Generator, strength_db: float) -> Array:
    """One to three random peaking filters, for the differences between microphones and preamplifiers."""
    count = int(rng.integers(1, 4))
    peaks = [
        (
            log_uniform(rng, 80.0, 9000.0),
            float(rng.normal(0.0, strength_db)),
            log_uniform(rng, 0.4, 2.0),
        )
        for _ in range(count)
    ]
    return body_resonance(sound, rate_hz, peaks)


def air(sound: Array, rate_hz: int, corner_hz: float, gain_db: float) -> Array:
    """First-order high shelf along the last axis, with `gain_db` above `corner_hz`."""
    above = highpass(sound, rate_hz, corner_hz, 1)
    return sound + (decibels(gain_db) - 1.0) * above


def hiss(rng: Generator, shape: tuple[int, ...], rate_hz: int, level_db: float) -> Array:
    """Background noise through a random low-pass: float32 of `shape`, `level_db` RMS before the filter."""
    noise = decibels(level_db) * rng.standard_normal(shape, dtype=np.float32)
    return lowpass(noise, rate_hz, log_uniform(rng, 2000.0, 18000.0), 1)


def drive(sound: Array, amount: float, asymmetry: float = 0.0) -> Array:
    """Soft clipping of `sound` scaled to a peak of `amount`; the result peaks at about 1."""
    peak = float(np.abs(sound).max()) + 1e-9
    pushed = sound * (amount / peak)
    shaped = np.tanh(pushed + asymmetry) - np.tanh(asymmetry)
    return np.asarray(shaped / np.tanh(amount))


def compress(sound: Array, rate_hz: int, *, threshold_db: float, ratio: float, release_s: float = 0.15) -> Array:
    """Feed-forward compressor for `(channel, sample)`; the threshold is relative to its peak."""
    hop = max(1, int(_CONTROL_S * rate_hz))
    count = -(-sound.shape[-1] // hop)
    level = np.zeros(count * hop, dtype=sound.dtype)
    level[: sound.shape[-1]] = np.abs(sound).max(axis=0)
    peaks = level.reshape(count, hop).max(axis=1)
    pole = float(np.exp(-_CONTROL_S / release_s))
    followed = np.maximum(signal.lfilter([1.0 - pole], [1.0, -pole], peaks), 1e-6)
    over_db = 20.0 * np.log10(followed / (float(followed.max()) + 1e-9)) - threshold_db
    gain = 10.0 ** (-np.maximum(over_db, 0.0) * (1.0 - 1.0 / ratio) / 20.0)
    curve = stretch(np.append(gain, gain[-1]), sound.shape[-1], hop)
    return np.asarray(sound * curve.astype(sound.dtype))


def limit(sound: Array, ceiling: float) -> Array:
    """Soft limiter: samples above half the ceiling are compressed so that none exceeds the ceiling."""
    knee = 0.5 * max(ceiling, 1e-9)
    over = np.abs(sound) - knee
    bent = knee * (1.0 + np.tanh(over / knee))
    return np.where(over > 0.0, np.copysign(bent, sound), sound)


def room(
    sound: Array,
    rate_hz: int,
    rng: Generator,
    *,
    decay_s: float,
    level_db: float,
    dark_hz: float = 6000.0,
    predelay_s: float = 0.01,
) -> Array:
    """Add random reverberation to `(2, sample)`: early reflections and a decaying tail of noise.

    decay_s: the reverberation time (60 dB decay) of the low band, half of it for the high band (Moorer
    1979: late reverberation is decaying noise). level_db: energy relative to the direct sound.
    """
    length = max(64, int(min(decay_s * 0.8, 2.2) * rate_hz))
    time = np.arange(length) / rate_hz
    response = np.zeros((2, length), dtype=np.float32)
    noise = rng.standard_normal((2, length)).astype(np.float32)
    dark = lowpass(noise, rate_hz, dark_hz * 0.25, 1)
    bright = lowpass(noise, rate_hz, dark_hz, 1) - dark
    response += dark * np.exp(-6.9 * time / decay_s).astype(np.float32)
    response += bright * np.exp(-6.9 * time / (0.5 * decay_s)).astype(np.float32)
    for _ in range(int(rng.integers(4, 10))):
        at = int(rng.uniform(0.0, min(0.06, 0.3 * decay_s)) * rate_hz)
        if at < length:
            response[rng.integers(2), at] += float(rng.normal(0.0, 6.0))
    response *= decibels(level_db) / np.sqrt((response**2).sum(axis=1, keepdims=True) + 1e-9)
    shift = int(predelay_s * rate_hz)
    # The direct sound is part of the response, so that one convolution does all.
    whole = np.zeros((2, shift + length), dtype=np.float32)
    whole[:, shift:] = response
    whole[:, 0] += 1.0
    return convolve(sound.astype(np.float32), whole)


def convolve(sound: Array, response: Array) -> Array:
    """Convolve each channel of `(channel, sample)` with its impulse response, cut to the sound's length."""
    size = int(fft.next_fast_len(sound.shape[1] + response.shape[1], real=True))
    spectrum = fft.rfft(sound, size, axis=1) * fft.rfft(response, size, axis=1)
    return np.asarray(fft.irfft(spectrum, size, axis=1)[:, : sound.shape[1]])


def echo(sound: Array, rate_hz: int, *, delay_s: float, feedback: float, level: float) -> Array:
    """Ping-pong delay of `(2, sample)`: decaying echoes that alternate between the sides."""
    out = sound.copy()
    step = int(delay_s * rate_hz)
    gain = level
    for repeat in range(1, 7):
        at = repeat * step
        if step < 1 or at >= sound.shape[1] or gain < 0.01:
            break
        source = sound[::-1] if repeat % 2 else sound
        out[:, at:] += gain * source[:, : sound.shape[1] - at]
        gain *= feedback
    return out


def modulated_delay(
    sound: Array, rate_hz: int, *, base_s: float, depth_s: float, speed_hz: float, phase: float
) -> Array:
    """`(sample,)` through a sinusoidally modulated delay: chorus when mixed with the input, vibrato alone."""
    time = np.arange(len(sound))
    swing = np.sin(2.0 * np.pi * (speed_hz * time / rate_hz + phase))
    position = np.clip(time - rate_hz * (base_s + depth_s * swing), 0.0, len(sound) - 1.001)
    index = position.astype(np.int32)
    low = sound[index]
    return np.asarray(low + (position - index).astype(sound.dtype) * (sound[index + 1] - low))


def chorus(sound: Array, rate_hz: int, rng: Generator, depth: float = 0.7) -> Array:
    """Stereo chorus, with one slowly modulated delay per side: `(sample,)` to `(2, sample)`."""
    speed_hz = log_uniform(rng, 0.15, 2.5)
    depth_s = min(0.004, 0.0012 / speed_hz + 0.0005)
    sides = [
        modulated_delay(sound, rate_hz, base_s=0.012, depth_s=depth_s, speed_hz=speed_hz, phase=0.25 * side)
        for side in range(2)
    ]
    return np.stack([sound + depth * side for side in sides]) / (1.0 + 0.5 * depth)


def tremolo(sound: Array, rate_hz: int, *, speed_hz: float, depth: float) -> Array:
    """Amplitude modulation of `(channel, sample)`, in opposite phase on the two sides."""
    time = np.arange(sound.shape[-1]) / rate_hz
    wave = np.sin(2.0 * np.pi * speed_hz * time)
    sides = np.stack((wave, -wave)) if sound.ndim == 2 else wave
    return sound * (1.0 - 0.5 * depth * (1.0 - sides))


def pan(sound: Array, position: float) -> Array:
    """Pan `(sample,)` to `(2, sample)`, or balance `(2, sample)`; -1 is left, 1 is right."""
    angle = (position + 1.0) * np.pi / 4.0
    gains = np.array([[np.cos(angle)], [np.sin(angle)]]) * np.sqrt(2.0)
    return np.asarray((np.stack((sound, sound)) if sound.ndim == 1 else sound) * gains)


def worn_tape(sound: Array, rate_hz: int, rng: Generator) -> Array:
    """Worn tape for `(2, sample)`: limited bandwidth, saturation, wow."""
    low_hz = log_uniform(rng, 30.0, 200.0)
    high_hz = log_uniform(rng, 2500.0, 9000.0)
    out = highpass(lowpass(sound, rate_hz, high_hz, 4), rate_hz, low_hz)
    out = drive(out, float(rng.uniform(0.5, 3.0))) * np.abs(sound).max()
    if rng.random() < 0.5:
        length = sound.shape[1]
        wow = rate_hz * 0.0008 * smooth_noise(rng, length, rate_hz, 1.2)
        position = np.clip(np.arange(length) + wow, 0.0, length - 1.001)
        index = position.astype(np.int32)
        weight = position - index
        out = out[:, index] * (1.0 - weight) + out[:, index + 1] * weight
    return np.asarray(out)

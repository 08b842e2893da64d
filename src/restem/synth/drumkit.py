"""The sounds of drum kits: one-shots made of decaying partials and filtered noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from restem.synth import effects
from restem.synth.signals import Array, Generator, add_at, damped_partials, log_uniform

KITS = (
    "acoustic",
    "acoustic",
    "rock",
    "electronic",
    "808",
    "brushes",
    "lo-fi",
    "percussion",
    "breakbeat",
)

_TAKES = 3
"""Variations rendered of each drum: a real drum never sounds the same twice."""


@dataclass(frozen=True)
class Kit:
    """The properties that all drums of a kit share: its name (one of `KITS`), and a tuning factor around 1."""

    name: str
    tune: float
    rng: Generator
    rate_hz: int


def build_kit(drums: list[str], name: str, rng: Generator, rate_hz: int) -> Mapping[str, list[Array]]:
    """Render a few variations of each named drum, `(sample,)` each, peaking around 1 before velocity."""
    kit = Kit(name, log_uniform(rng, 0.75, 1.35), rng, rate_hz)
    sounds: dict[str, list[Array]] = {}
    for drum in drums:
        make = _MAKERS[drum](kit)
        level = _LEVELS.get(drum, 0.5)
        takes = []
        for _ in range(1 if name in ("electronic", "808", "breakbeat") else _TAKES):
            sound = np.asarray(make(), dtype=np.float32)
            takes.append(sound * np.float32(level / (np.abs(sound).max() + 1e-9)))
        sounds[drum] = takes
    return sounds


_LEVELS = {
    "kick": 1.0, "snare": 0.8, "clap": 0.7, "rim": 0.5, "closed": 0.28, "open": 0.32, "pedal": 0.2,
    "ride": 0.28, "crash": 0.45, "tom_low": 0.8, "tom_mid": 0.75, "tom_high": 0.7, "shaker": 0.22,
    "tambourine": 0.3, "cowbell": 0.35, "conga_low": 0.6, "conga_high": 0.55, "bongo": 0.5,
    "clave": 0.4, "sweep": 0.2,
}  # fmt: skip

Maker = Callable[[], Array]

# Ideal circular membrane: frequencies relative to its lowest mode (zeros of Bessel functions).
_MEMBRANE = np.array([1.0, 1.594, 2.136, 2.296, 2.653, 2.918, 3.156, 3.501, 3.6, 4.06])


def _noise(rng: Generator, seconds: float, rate_hz: int, fall_s: float) -> Array:
    """Noise that decays by 60 dB in `fall_s`."""
    count = round(seconds * rate_hz)
    time = np.arange(count) / rate_hz
    return rng.standard_normal(count) * np.exp(-6.9 * time / fall_s)


def _swept_sine(start_hz: float, end_hz: float, sweep_s: float, fall_s: float, rate_hz: int) -> Array:
    """A decaying sine that sweeps from one frequency to another: kicks and toms."""
    time = np.arange(int(min(fall_s, 1.8) * rate_hz)) / rate_hz
    frequency = end_hz + (start_hz - end_hz) * np.exp(-time / sweep_s)
    return np.sin(2.0 * np.pi * np.cumsum(frequency) / rate_hz) * np.exp(-6.9 * time / fall_s)


def _mix(*sounds: Array) -> Array:
    out = np.zeros(max(len(sound) for sound in sounds))
    for sound in sounds:
        out[: len(sound)] += sound
    return out


def _kick(kit: Kit) -> Maker:
    rng, rate_hz = kit.rng, kit.rate_hz
    electronic = kit.name in ("808", "electronic", "lo-fi")
    end_hz = log_uniform(rng, 38.0, 75.0) * (0.9 if electronic else kit.tune**0.5)
    start_hz = end_hz * (log_uniform(rng, 2.0, 9.0) if electronic else log_uniform(rng, 1.3, 3.5))
    sweep_s = log_uniform(rng, 0.008, 0.05)
    fall_s = log_uniform(rng, 0.5, 1.8) if kit.name == "808" else log_uniform(rng, 0.15, 0.6)
    click_level = float(rng.uniform(0.0, 0.6)) * (0.5 if kit.name in ("808", "brushes") else 1.0)
    click_low, click_high = log_uniform(rng, 800.0, 2500.0), log_uniform(rng, 3000.0, 9000.0)
    skin_level = 0.0 if electronic else float(rng.uniform(0.05, 0.35))
    push = log_uniform(rng, 0.5, 4.0)

    def make() -> Array:
        vary = float(rng.uniform(0.97, 1.03))
        body = effects.drive(_swept_sine(start_hz * vary, end_hz * vary, sweep_s, fall_s, rate_hz), push)
        click = effects.bandpass(_noise(rng, 0.03, rate_hz, 0.02), rate_hz, click_low, click_high)
        skin = damped_partials(
            end_hz * 2.0 * _MEMBRANE,
            0.15 / _MEMBRANE,
            rng.uniform(0.2, 1.0, 10),
            int(0.2 * rate_hz),
            rate_hz,
        )
        return _mix(body, click_level * click / (np.abs(click).max() + 1e-9), skin_level * skin / 3.0)

    return make


def _snare(kit: Kit) -> Maker:
    rng, rate_hz = kit.rng, kit.rate_hz
    electronic = kit.name in ("808", "electronic")
    body_hz = log_uniform(rng, 150.0, 260.0) * kit.tune
    ratios = np.array([1.0, 1.78]) if electronic else _MEMBRANE
    decays = log_uniform(rng, 0.1, 0.4) / ratios**0.7
    wires_s = log_uniform(rng, 0.08, 0.5)
    low_hz, high_hz = log_uniform(rng, 400.0, 2500.0), log_uniform(rng, 5000.0, 14000.0)
    balance = float(rng.uniform(0.25, 0.8))
    if kit.name == "brushes":
        balance, wires_s = 0.85, log_uniform(rng, 0.08, 0.2)
    ring = rng.random() < 0.25

    def make() -> Array:
        amplitudes = rng.uniform(0.3, 1.0, len(ratios)) / ratios**0.5
        body = damped_partials(body_hz * ratios, decays, amplitudes, int(0.4 * rate_hz), rate_hz)
        if ring:
            body = _mix(
                body,
                0.4
                * damped_partials(
                    np.array([body_hz * 2.3]),
                    np.array([0.5]),
                    np.ones(1),
                    int(0.5 * rate_hz),
                    rate_hz,
                ),
            )
        wires = effects.bandpass(_noise(rng, wires_s, rate_hz, wires_s), rate_hz, low_hz, high_hz)
        snap = _noise(rng, 0.01, rate_hz, 0.006)
        return _mix(
            (1.0 - balance) * body / (np.abs(body).max() + 1e-9),
            balance * wires / (np.abs(wires).max() + 1e-9),
            0.15 * snap / 3.0,
        )

    return make


def _clap(kit: Kit) -> Maker:
    rng, rate_hz = kit.rng, kit.rate_hz
    centre = log_uniform(rng, 800.0, 2000.0)
    tail_s = log_uniform(rng, 0.1, 0.4)
    gaps = rng.uniform(0.007, 0.014, int(rng.integers(2, 5)))

    def make() -> Array:
        out = np.zeros(int((tail_s + 0.08) * rate_hz))
        start = 0.0
        for gap in gaps:
            add_at(out, _noise(rng, 0.02, rate_hz, 0.015), int(start * rate_hz))
            start += gap
        add_at(out, 0.8 * _noise(rng, tail_s, rate_hz, tail_s), int(start * rate_hz))
        return effects.bandpass(out, rate_hz, centre * 0.7, centre * log_uniform(rng, 1.6, 3.5))

    return make


def _rim(kit: Kit) -> Maker:
    rng, rate_hz = kit.rng, kit.rate_hz
    modes = np.array([log_uniform(rng, 350.0, 600.0), log_uniform(rng, 1500.0, 2000.0), 3100.0]) * kit.tune
    decays = np.array([0.06, log_uniform(rng, 0.03, 0.1), 0.03])
    return lambda: _mix(
        damped_partials(modes, decays, rng.uniform(0.5, 1.0, 3), int(0.12 * rate_hz), rate_hz),
        0.3 * _noise(rng, 0.01, rate_hz, 0.006),
    )


def _cymbal(rng: Generator, rate_hz: int, *, seconds: float, low_hz: float, metal: float, partials: int) -> Maker:
    """A cymbal: hundreds of inharmonic partials, and noise, above `low_hz`; metal is the partials' share."""
    frequencies = np.sort(np.exp(rng.uniform(np.log(low_hz * 0.5), np.log(15000.0), partials)))
    decays = seconds * rng.uniform(0.4, 1.1, partials) * (low_hz / frequencies) ** 0.25
    tone = rng.uniform(0.1, 1.0, partials)
    brightness_hz = log_uniform(rng, 8000.0, 18000.0)

    def make() -> Array:
        count = int(min(seconds, 2.5) * rate_hz)
        ring = damped_partials(
            frequencies, decays, tone * rng.uniform(0.6, 1.0, partials), count, rate_hz,
            rng.uniform(0.0, 2.0 * np.pi, partials),
        )  # fmt: skip
        hiss = _noise(rng, count / rate_hz, rate_hz, seconds * 0.8)
        sound = metal * ring / (ring.std() + 1e-9) + (1.0 - metal) * hiss / (hiss.std() + 1e-9)
        sound = effects.highpass(sound, rate_hz, low_hz, 4)
        attack = np.minimum(1.0, np.arange(count) / (0.0008 * rate_hz))
        return effects.lowpass(sound, rate_hz, brightness_hz) * attack

    return make


def _808_cymbal(rng: Generator, rate_hz: int, seconds: float, low_hz: float) -> Maker:
    """Six square waves through a high-pass: the cymbals of the TR-808."""
    base = np.array([205.3, 304.4, 369.6, 522.7, 540.0, 800.0]) * log_uniform(rng, 0.8, 1.5)

    def make() -> Array:
        time = np.arange(int(seconds * rate_hz)) / rate_hz
        squares = np.sign(np.sin(2.0 * np.pi * base[:, None] * time + rng.uniform(0, 6, (6, 1))))
        sound = squares.sum(axis=0) * np.exp(-6.9 * time / seconds)
        return effects.highpass(sound, rate_hz, low_hz, 4)

    return make


def _hat(seconds: tuple[float, float]) -> Callable[[Kit], Maker]:
    def draw(kit: Kit) -> Maker:
        rng, rate_hz = kit.rng, kit.rate_hz
        length_s = log_uniform(rng, *seconds)
        low_hz = log_uniform(rng, 3500.0, 8500.0)
        if kit.name in ("808", "electronic") and rng.random() < 0.6:
            return _808_cymbal(rng, rate_hz, length_s, low_hz)
        metal = float(rng.uniform(0.1, 0.8))
        return _cymbal(rng, rate_hz, seconds=length_s, low_hz=low_hz, metal=metal, partials=60)

    return draw


def _ride(kit: Kit) -> Maker:
    rng, rate_hz = kit.rng, kit.rate_hz
    seconds = log_uniform(rng, 0.7, 2.5)
    wash = _cymbal(
        rng,
        rate_hz,
        seconds=seconds,
        low_hz=log_uniform(rng, 2000.0, 5000.0),
        metal=0.8,
        partials=90,
    )
    bell = np.sort(rng.uniform(500.0, 5500.0, 7))
    level = float(rng.uniform(0.05, 0.4))

    def make() -> Array:
        sound = wash()
        ping = damped_partials(bell, np.full(7, 0.5 * seconds), np.ones(7), len(sound), rate_hz)
        sound = sound / (np.abs(sound).max() + 1e-9)
        return np.asarray(sound + level * ping / (np.abs(ping).max() + 1e-9))

    return make


def _crash(kit: Kit) -> Maker:
    rng, rate_hz = kit.rng, kit.rate_hz
    return _cymbal(
        rng, rate_hz, seconds=log_uniform(rng, 1.0, 2.5), low_hz=log_uniform(rng, 400.0, 2500.0),
        metal=float(rng.uniform(0.3, 0.7)), partials=150,
    )  # fmt: skip


def _drum_head(low_hz: float, high_hz: float, fall: tuple[float, float], bend: float) -> Callable[[Kit], Maker]:
    """A pitched drum: toms, congas, bongos."""

    def draw(kit: Kit) -> Maker:
        rng, rate_hz = kit.rng, kit.rate_hz
        base = log_uniform(rng, low_hz, high_hz) * (kit.tune if kit.name != "808" else 1.0)
        fall_s = log_uniform(rng, *fall)
        slap = float(rng.uniform(0.05, 0.3))
        skin_level = 0.0 if kit.name == "808" else float(rng.uniform(0.1, 0.5))

        def make() -> Array:
            vary = base * float(rng.uniform(0.98, 1.02))
            body = _swept_sine(vary * bend, vary, 0.03, fall_s, rate_hz)
            skin = damped_partials(
                vary * _MEMBRANE, 0.6 * fall_s / _MEMBRANE, rng.uniform(0.2, 1.0, 10),
                int(0.7 * fall_s * rate_hz), rate_hz,
            )  # fmt: skip
            hit = effects.lowpass(_noise(rng, 0.03, rate_hz, 0.02), rate_hz, 5000.0)
            return _mix(body, skin_level * skin / 2.0, slap * hit)

        return make

    return draw


def _shaker(kit: Kit) -> Maker:
    rng, rate_hz = kit.rng, kit.rate_hz
    low_hz, length_s = log_uniform(rng, 3000.0, 7000.0), log_uniform(rng, 0.05, 0.14)

    def make() -> Array:
        count = int(2.0 * length_s * rate_hz)
        time = np.arange(count) / rate_hz
        swell = np.exp(-(((time - 0.4 * length_s) / (0.35 * length_s)) ** 2))
        return effects.bandpass(rng.standard_normal(count) * swell, rate_hz, low_hz, low_hz * 2.5)

    return make


def _tambourine(kit: Kit) -> Maker:
    rng, rate_hz = kit.rng, kit.rate_hz
    return _cymbal(
        rng, rate_hz, seconds=log_uniform(rng, 0.12, 0.35), low_hz=log_uniform(rng, 4500.0, 8000.0),
        metal=0.8, partials=30,
    )  # fmt: skip


def _cowbell(kit: Kit) -> Maker:
    rng, rate_hz = kit.rng, kit.rate_hz
    modes = np.array([540.0, 800.0, 1090.0, 1600.0, 2700.0]) * kit.tune
    fall_s = log_uniform(rng, 0.1, 0.4)
    return lambda: damped_partials(
        modes,
        fall_s / (modes / modes[0]) ** 0.3,
        rng.uniform(0.4, 1.0, 5),
        int(fall_s * rate_hz),
        rate_hz,
    )


def _clave(kit: Kit) -> Maker:
    rng, rate_hz = kit.rng, kit.rate_hz
    modes = np.array([1.0, 2.9]) * log_uniform(rng, 1500.0, 2700.0)
    return lambda: damped_partials(modes, np.array([0.09, 0.03]), np.array([1.0, 0.3]), int(0.12 * rate_hz), rate_hz)


def _sweep(kit: Kit) -> Maker:
    """A brush swept across the snare."""
    rng, rate_hz = kit.rng, kit.rate_hz
    low_hz, length_s = log_uniform(rng, 900.0, 2500.0), log_uniform(rng, 0.2, 0.45)

    def make() -> Array:
        count = int(length_s * rate_hz)
        swell = np.sin(np.pi * np.arange(count) / count) ** 1.5
        return effects.bandpass(rng.standard_normal(count) * swell, rate_hz, low_hz, low_hz * 4.0)

    return make


_MAKERS: dict[str, Callable[[Kit], Maker]] = {
    "kick": _kick,
    "snare": _snare,
    "clap": _clap,
    "rim": _rim,
    "closed": _hat((0.03, 0.12)),
    "open": _hat((0.3, 0.9)),
    "pedal": _hat((0.02, 0.06)),
    "ride": _ride,
    "crash": _crash,
    "tom_low": _drum_head(65.0, 100.0, (0.3, 0.9), 1.4),
    "tom_mid": _drum_head(100.0, 150.0, (0.25, 0.7), 1.4),
    "tom_high": _drum_head(150.0, 220.0, (0.2, 0.6), 1.4),
    "conga_low": _drum_head(150.0, 220.0, (0.2, 0.5), 1.08),
    "conga_high": _drum_head(220.0, 340.0, (0.12, 0.35), 1.08),
    "bongo": _drum_head(330.0, 520.0, (0.08, 0.25), 1.05),
    "shaker": _shaker,
    "tambourine": _tambourine,
    "cowbell": _cowbell,
    "clave": _clave,
    "sweep": _sweep,
}

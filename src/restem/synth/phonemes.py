"""The phonemes of the singing voice: formants of vowels, and the sound sources of consonants."""

from __future__ import annotations

from dataclasses import dataclass

# The first three formants of a man in Hz (Peterson and Barney 1952, rounded).
VOWELS = {
    "a": (730.0, 1090.0, 2440.0), "e": (530.0, 1840.0, 2480.0), "i": (270.0, 2290.0, 3010.0),
    "o": (570.0, 840.0, 2410.0), "u": (300.0, 870.0, 2240.0), "ae": (660.0, 1720.0, 2410.0),
    "uh": (640.0, 1190.0, 2390.0), "er": (490.0, 1350.0, 1690.0), "ih": (390.0, 1990.0, 2550.0),
}  # fmt: skip


@dataclass(frozen=True)
class Consonant:
    """The sound of a consonant.

    seconds: its duration. voicing, breath: levels of the glottal source and of aspiration noise, relative
    to the vowel. noise, noise_hz, noise_width: frication noise at the teeth or lips: level, centre, and
    width in octaves. formants: its formant frequencies in Hz. burst: noise in its last 15 ms only.
    """

    seconds: float
    voicing: float = 0.0
    breath: float = 0.0
    noise: float = 0.0
    noise_hz: float = 4000.0
    noise_width: float = 1.0
    formants: tuple[float, float, float] | None = None
    burst: bool = False


# Rounded textbook values; singer and channel strip vary them anyway.
CONSONANTS = {
    "": Consonant(0.0),
    "s": Consonant(0.11, 0.0, 0.0, 0.55, 7000.0, 0.9, (320, 1700, 2600)),
    "sh": Consonant(0.11, 0.0, 0.0, 0.6, 3600.0, 1.1, (320, 1800, 2300)),
    "f": Consonant(0.09, 0.0, 0.0, 0.18, 6500.0, 2.5, (320, 1000, 2300)),
    "h": Consonant(0.08, 0.0, 0.8),
    "t": Consonant(0.07, 0.0, 0.0, 0.6, 5000.0, 1.6, (320, 1750, 2700), burst=True),
    "k": Consonant(0.08, 0.0, 0.0, 0.5, 2200.0, 1.3, (320, 2100, 2400), burst=True),
    "p": Consonant(0.07, 0.0, 0.0, 0.35, 900.0, 2.5, (320, 900, 2200), burst=True),
    "d": Consonant(0.05, 0.12, 0.0, 0.3, 4500.0, 1.6, (250, 1750, 2700), burst=True),
    "g": Consonant(0.06, 0.12, 0.0, 0.25, 2000.0, 1.3, (250, 2100, 2400), burst=True),
    "b": Consonant(0.05, 0.15, 0.0, 0.15, 700.0, 2.5, (250, 800, 2200), burst=True),
    "m": Consonant(0.08, 0.35, formants=(250, 1000, 2200)),
    "n": Consonant(0.07, 0.35, formants=(250, 1500, 2600)),
    "l": Consonant(0.06, 0.55, formants=(360, 1150, 2700)),
    "r": Consonant(0.07, 0.6, formants=(350, 1150, 1550)),
    "w": Consonant(0.07, 0.5, formants=(290, 620, 2150)),
    "y": Consonant(0.06, 0.55, formants=(260, 2200, 3000)),
    "z": Consonant(0.08, 0.25, 0.0, 0.3, 7000.0, 0.9, (280, 1700, 2600)),
    "v": Consonant(0.06, 0.3, 0.0, 0.1, 5000.0, 2.0, (280, 1000, 2300)),
}

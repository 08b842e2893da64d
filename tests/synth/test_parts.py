"""Do the parts play what the score says? Pitches, onsets and rests, measured from the sound."""

from __future__ import annotations

import numpy as np
import pytest

from restem.synth import bass, keys, strings, voice, winds
from restem.synth.drums import play_drums
from restem.synth.guitar import render_guitar
from restem.synth.rhythm import Hit
from restem.synth.score import STYLES, Note, Score, arrange, compose
from restem.synth.signals import frequency_hz

RATE_HZ = 22050


def autocorrelation_hz(sound: np.ndarray, low_hz: float, high_hz: float) -> float:
    """The fundamental from the highest peak of the autocorrelation, refined with a parabola."""
    size = 1 << int(np.ceil(np.log2(2 * len(sound))))
    correlation = np.fft.irfft(np.abs(np.fft.rfft(sound - sound.mean(), size)) ** 2)
    # Longer lags see less sound: undo the taper.
    half = len(sound) // 2
    correlation = correlation[:half] / (len(sound) - np.arange(half))
    first, last = int(RATE_HZ / high_hz), int(RATE_HZ / low_hz) + 1
    lag = first + int(np.argmax(correlation[first:last]))
    a, b, c = correlation[lag - 1 : lag + 2]
    return RATE_HZ / (lag + 0.5 * (a - c) / (a - 2.0 * b + c))


def cents_off(sound: np.ndarray, pitch: float) -> float:
    """How far a sound is from a pitch, looked for within half an octave each way."""
    expected = float(frequency_hz(pitch))
    found = autocorrelation_hz(sound, expected / 1.4, expected * 1.4)
    return float(abs(1200.0 * np.log2(found / expected)))


def scale_of_notes(lowest: float) -> list[Note]:
    """Five separate notes going up."""
    return [Note(0.6 * k, 0.5, lowest + 3.0 * k, 0.8) for k in range(5)]


def worst_cents(sound: np.ndarray, notes: list[Note]) -> float:
    """The largest deviation over the middles of notes, of all but the worst (a slide, a scoop)."""
    mono = sound.mean(axis=0) if sound.ndim == 2 else sound
    errors = []
    for note in notes:
        start, stop = (int((note.start_s + at) * RATE_HZ) for at in (0.15, 0.45))
        errors.append(cents_off(mono[start:stop], note.pitch))
    return sorted(errors)[-2]


@pytest.mark.parametrize("sound", [*bass.STRINGS, "sub", "synth"])
def test_bass_plays_the_notes(sound: str) -> None:
    notes = scale_of_notes(33.0)
    rng = np.random.default_rng(3)
    assert worst_cents(bass.render_bass(notes, sound, rng, RATE_HZ, 3 * RATE_HZ), notes) < 35.0


@pytest.mark.parametrize("seed", range(4))
def test_vocals_sing_the_notes(seed: int) -> None:
    notes = scale_of_notes(57.0)
    rng = np.random.default_rng(seed)
    singer = voice.draw_singer(rng, 1.1)
    words = [("m", "a", "a")] * len(notes)
    sung = voice.sing(notes, words, singer, rng, RATE_HZ, 3 * RATE_HZ)
    # Vibrato and drift are part of singing: half a semitone.
    assert worst_cents(sung, notes) < 50.0


def test_vowels_have_their_formants() -> None:
    """The long-term spectrum of /i/ has far more at 2.3 kHz, against 1 kHz, than that of /a/."""
    notes = [Note(0.1, 1.8, 45.0, 0.8)]
    tilts = {}
    for vowel in ("a", "i"):
        rng = np.random.default_rng(7)
        singer = voice.draw_singer(rng, 1.0)
        sung = voice.sing(notes, [("", vowel, vowel)], singer, rng, RATE_HZ, 2 * RATE_HZ)
        power = np.abs(np.fft.rfft(sung)) ** 2
        hertz = np.fft.rfftfreq(len(sung), 1.0 / RATE_HZ)
        upper, lower = (power[(hertz > low) & (hertz < high)].sum() for low, high in ((2000, 2600), (800, 1300)))
        tilts[vowel] = 10.0 * np.log10(upper / lower)
    assert tilts["i"] > tilts["a"] + 10.0


@pytest.mark.parametrize("sound", ["s", "sh", "f", "t"])
def test_consonants_are_noise_before_the_note(sound: str) -> None:
    """Before the vowel, at half a second, there is noise above 1.5 kHz with a consonant only."""
    notes = [Note(0.5, 0.5, 55.0, 0.8)]
    shares = {}
    for onset in (sound, ""):
        rng = np.random.default_rng(8)
        singer = voice.draw_singer(rng, 1.0)
        sung = voice.sing(notes, [(onset, "a", "a")], singer, rng, RATE_HZ, RATE_HZ)
        before = sung[int(0.42 * RATE_HZ) : int(0.48 * RATE_HZ)]
        power = np.abs(np.fft.rfft(before)) ** 2
        shares[onset] = power[np.fft.rfftfreq(len(before), 1.0 / RATE_HZ) > 1500.0].sum()
    assert shares[sound] > 100.0 * shares[""]


@pytest.mark.parametrize("sound", ["steel", "nylon", "clean", "crunch", "distorted"])
def test_guitars_play_the_notes(sound: str) -> None:
    notes = scale_of_notes(52.0)
    rng = np.random.default_rng(4)
    assert worst_cents(render_guitar(notes, sound, rng, RATE_HZ, 3 * RATE_HZ), notes) < 30.0


@pytest.mark.parametrize("sound", ["grand", "electric", "organ"])
def test_keyboards_play_the_notes(sound: str) -> None:
    notes = scale_of_notes(57.0)
    rng = np.random.default_rng(5)
    assert worst_cents(keys.render_keyboard(notes, sound, rng, RATE_HZ, 3 * RATE_HZ), notes) < 30.0


@pytest.mark.parametrize("sound", list(winds.WINDS))
def test_winds_play_the_notes(sound: str) -> None:
    notes = scale_of_notes(62.0)
    rng = np.random.default_rng(6)
    assert worst_cents(winds.render_wind(notes, sound, rng, RATE_HZ, 3 * RATE_HZ), notes) < 45.0


@pytest.mark.parametrize("sound", ["solo", "section", "pizzicato"])
def test_strings_play_the_notes(sound: str) -> None:
    notes = scale_of_notes(55.0)
    rng = np.random.default_rng(9)
    assert worst_cents(strings.render_strings(notes, sound, rng, RATE_HZ, 3 * RATE_HZ), notes) < 50.0


def test_drums_sound_when_they_are_struck() -> None:
    """Each bar's first stroke raises the level: onsets in the sound are onsets in the hit list."""
    score = compose(np.random.default_rng(10), 8.0)
    active = np.ones(score.bars, dtype=bool)
    length = 8 * RATE_HZ
    hits, sound = play_drums(score, active, np.random.default_rng(11), RATE_HZ, length)
    loud = [hit for hit in hits if hit.velocity > 0.7 and 0.1 < hit.start_s < 7.8]
    mono = np.abs(sound).max(axis=0)
    raised = 0
    for hit in loud:
        at = int(hit.start_s * RATE_HZ)
        raised += int(mono[at : at + 400].max() > mono[at - 200 : at].mean())
    assert all(isinstance(hit, Hit) for hit in hits)
    assert raised >= 0.95 * len(loud) > 5


def test_drums_rest_in_resting_bars() -> None:
    score = compose(np.random.default_rng(12), 16.0)
    active = np.ones(score.bars, dtype=bool)
    active[score.bars // 2 :] = False
    hits, _ = play_drums(score, active, np.random.default_rng(13), RATE_HZ, 16 * RATE_HZ)
    rest_s = score.seconds_at(score.bars // 2 * score.beats_per_bar)
    assert hits
    assert max(hit.start_s for hit in hits) < rest_s + 0.05


@pytest.mark.parametrize("seed", range(20))
def test_scores_hold_together(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = compose(rng, 16.0)
    assert score.style in STYLES
    assert score.sections[0] == 0
    assert list(score.sections) == sorted(set(score.sections))
    assert score.bars * score.beats_per_bar * score.beat_s >= 16.0 - 1e-3
    in_key = {(score.tonic + step) % 12 for step in score.scale}
    assert all(set(chord.pitch_classes) <= in_key for chord in score.chords)
    beats = np.linspace(0.0, 16.0, 257)
    times = [score.seconds_at(float(beat)) for beat in beats]
    assert (np.diff(times) > 0.0).all()
    shares = [0.7, 0.55, 0.5]
    plays = np.array(arrange(rng, score, shares))
    assert plays.shape == (3, score.bars)
    assert plays.any(axis=0).all()


@pytest.mark.parametrize("kind", ["walking", "riff", "octaves", "root fifth"])
def test_bass_lines_start_each_chord_on_its_root(kind: str) -> None:
    from restem.synth.lines import bass_line

    score: Score = compose(np.random.default_rng(21), 16.0)
    active = np.ones(score.bars, dtype=bool)
    notes = bass_line(score, active, np.random.default_rng(0), kind=kind, lowest=28)
    bar_s = score.beats_per_bar * score.beat_s
    for note in notes:
        if note.start_s % bar_s < 1e-6:
            beat = round(note.start_s / score.beat_s)
            assert note.pitch % 12 == score.chord_at(beat).root
    assert all(28 <= note.pitch <= 28 + 26 for note in notes)

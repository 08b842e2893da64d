"""Against the sum over all ways in which a song's stems can hold its classes, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restem.labelling import song_model
from restem.labelling.decision_settings import DecisionSettings
from restem.labelling.label_sets import set_probability
from restem.labelling.song_model import Rates, SongPosterior, initial_posterior

SETTINGS = DecisionSettings()


def prior(holds: np.ndarray, given_flags: np.ndarray, rates: Rates) -> float:
    """P(the stems of a song that hold a class are these), by the words at the head of the module."""
    claimants, others = holds[given_flags], holds[~given_flags]
    probability = float(np.prod(np.where(claimants, rates.held, 1 - rates.held)))
    if not len(others):
        return probability
    rate = rates.unclaimed if not len(claimants) else rates.also if claimants.any() else rates.moved
    spread = np.where(others, SETTINGS.further, 1 - SETTINGS.further)
    firsts = [np.prod(np.delete(spread, one)) / len(others) for one in np.flatnonzero(others)]
    return probability * (rate * sum(firsts) + (1 - rate) * (not others.any()))


def posterior_of_one_class(
    ratio: np.ndarray, flags: np.ndarray, songs: Sequence[str], rates: Rates
) -> tuple[np.ndarray, float]:
    """P(present), (stem,), and the log likelihood. ratio, flags: (stem,)."""
    members = song_model._membership(songs)
    found, _, likelihood = song_model._posterior(ratio[:, None], flags[:, None], members, (rates,), SETTINGS.further)
    return found[:, 0], likelihood


def converged(
    ratios: np.ndarray, given_flags: np.ndarray, songs: Sequence[str], usual_held: float = 0.97
) -> SongPosterior:
    """The posterior when further turns change nothing more."""
    posterior = initial_posterior(given_flags, SETTINGS, usual_held)
    for _ in range(40):
        posterior = song_model.update_posterior(ratios, given_flags, songs, posterior, SETTINGS)
    return posterior


def by_enumeration(ratio: np.ndarray, given_flags: np.ndarray, rates: Rates) -> np.ndarray:
    ways = [np.array(way, bool) for way in product((False, True), repeat=len(ratio))]
    weights = np.array([prior(way, given_flags, rates) * np.prod(ratio[way]) for way in ways])
    return (weights[:, None] * ways).sum(axis=0) / weights.sum()


rate = st.floats(0.01, 0.99)


@given(
    st.lists(st.tuples(st.floats(-6, 6), st.booleans()), min_size=1, max_size=6),
    st.builds(Rates, held=rate, also=rate, moved=rate, unclaimed=rate),
)
def test_a_song_by_enumeration(stems: list[tuple[float, bool]], rates: Rates) -> None:
    ratio = np.exp([evidence for evidence, _ in stems])
    flags = np.array([claims for _, claims in stems])
    found, *_ = posterior_of_one_class(ratio, flags, ["a"] * len(stems), rates)
    np.testing.assert_allclose(found, by_enumeration(ratio, flags, rates), rtol=1e-6, atol=1e-9)


def test_songs_do_not_meddle_with_each_other() -> None:
    rng = np.random.default_rng(0)
    ratio, flags = np.exp(2 * rng.standard_normal(12)), rng.random(12) < 0.4
    song = rng.integers(0, 3, 12)
    rates = Rates(0.9, 0.05, 0.5, 0.3)
    together, *_ = posterior_of_one_class(ratio, flags, song.astype(str).tolist(), rates)
    for one in range(3):
        mine = song == one
        alone, *_ = posterior_of_one_class(ratio[mine], flags[mine], ["a"] * mine.sum(), rates)
        np.testing.assert_allclose(together[mine], alone, rtol=1e-9)


def test_a_prior_of_all_ways_sums_to_one() -> None:
    rates = Rates(0.9, 0.05, 0.5, 0.3)
    for flags in product((False, True), repeat=4):
        ways = product((False, True), repeat=4)
        assert sum(prior(np.array(way), np.array(flags), rates) for way in ways) == pytest.approx(1.0)


@given(st.lists(st.floats(0.02, 0.98), min_size=2, max_size=5))
def test_something_is_in_a_stem_by_enumeration(apart: list[float]) -> None:
    """The odds that a message adds are those of a factor that makes an empty stem rare."""
    weights = {
        way: float(np.prod(np.where(way, apart, 1 - np.array(apart)))) * (1.0 if any(way) else SETTINGS.nothing)
        for way in product((False, True), repeat=len(apart))
    }
    message = song_model._something(np.array([apart]), SETTINGS.nothing)[0]
    for index, alone in enumerate(apart):
        yes = sum(weight for way, weight in weights.items() if way[index])
        no = sum(weight for way, weight in weights.items() if not way[index])
        assert message[index] * alone / (1 - alone) == pytest.approx(yes / no, rel=1e-9)


class TestPosterior:
    SONGS = ("a", "a", "a")
    GIVEN = np.array([[True, False], [False, True], [False, True]])

    def test_stems_compete_for_a_class(self) -> None:
        """What two stems could hold equally well is less likely in each than what only one of them could."""
        flags = np.array([[False, True], [False, True], [False, True]])
        one = converged(np.array([[30.0, 1.0], [0.1, 1.0], [0.1, 1.0]]), flags, self.SONGS).probabilities
        both = converged(np.array([[30.0, 1.0], [30.0, 1.0], [0.1, 1.0]]), flags, self.SONGS).probabilities
        assert both[0, 0] < one[0, 0] and both[0, 0] == pytest.approx(both[1, 0])

    def test_what_is_found_where_it_should_be_is_not_elsewhere(self) -> None:
        ratios = np.array([[20.0, 0.05], [5.0, 20.0], [0.05, 20.0]])
        held = converged(ratios, self.GIVEN, self.SONGS).probabilities[1, 0]
        ratios[0] = 0.001, 20.0
        moved = converged(ratios, self.GIVEN, self.SONGS).probabilities[1, 0]
        assert held < 0.3 < 0.6 < moved

    def test_a_stem_that_lacks_its_class_holds_another(self) -> None:
        """The classes are equally unlikely by their scores, but something is there."""
        posterior = converged(np.array([[0.002, 1.0, 1.0]]), np.array([[True, False, False]]), ("a",))
        assert posterior.probabilities[0, 1] > posterior.apart[0, 1]
        assert 0 <= set_probability(posterior.probabilities, np.array([[True, False, False]]))[0] < 0.3

    def test_rates_are_recovered(self) -> None:
        """From songs drawn by the prior, with clear scores."""
        rng = np.random.default_rng(1)
        songs, truth = 3000, Rates(held=0.8, also=0.1, moved=0.6, unclaimed=0.4)
        flags = np.eye(4, dtype=bool)[rng.integers(0, 4, songs)] & (rng.random(songs) < 0.7)[:, None]
        ways = np.array(list(product((False, True), repeat=4)))
        holds = np.empty_like(flags)
        for pattern in np.unique(flags, axis=0):
            mine = (flags == pattern).all(axis=1)
            shares = np.array([prior(way, pattern, truth) for way in ways])
            holds[mine] = ways[rng.choice(len(ways), mine.sum(), p=shares / shares.sum())]
        ratios = np.exp(np.where(holds, 5.0, -5.0)).reshape(-1, 1)
        names = np.repeat(np.arange(songs).astype(str), 4)
        # A second class, which all stems hold: nothing is learned from a stem being empty.
        ratios = np.hstack([ratios, np.full_like(ratios, 1e6)])
        given_flags = np.stack([flags.ravel(), np.ones(4 * songs, bool)], axis=1)
        found = converged(ratios, given_flags, names.tolist()).rates[0]
        for name, value in vars(truth).items():
            assert getattr(found, name) == pytest.approx(value, abs=0.04), name

    def test_the_likelihood_of_a_song_by_enumeration(self) -> None:
        rng = np.random.default_rng(4)
        rates = Rates(0.8, 0.1, 0.6, 0.4)
        for flags in product((False, True), repeat=4):
            ratio, given_flags = np.exp(2 * rng.standard_normal(4)), np.array(flags)
            *_, found = posterior_of_one_class(ratio, given_flags, ["a"] * 4, rates)
            ways = [np.array(way) for way in product((False, True), repeat=4)]
            expected = sum(prior(way, given_flags, rates) * np.prod(ratio[way]) for way in ways)
            assert found == pytest.approx(np.log(expected), rel=1e-9)

    @pytest.mark.parametrize("truth", [0.97, 0.75])
    def test_the_true_hypothesis_is_the_likeliest(self, truth: float) -> None:
        """Songs of two stems, one of which is given the class and holds it with probability `truth`."""
        rng = np.random.default_rng(2)
        holds = rng.random(400) < truth
        present = np.stack([holds, ~holds], axis=1).ravel()
        ratios = np.stack([np.exp(np.where(present, 4.0, -4.0)), np.exp(np.where(present, -4.0, 4.0))], axis=1)
        given_flags = np.tile([[True, False], [False, True]], (400, 1))
        songs = np.repeat(np.arange(400).astype(str), 2).tolist()
        hypotheses = (0.995, 0.97, 0.92, 0.85, 0.75, 0.65)
        found = [
            song_model.log_likelihood(ratios, given_flags, songs, posterior, SETTINGS)
            for posterior in (converged(ratios, given_flags, songs, held) for held in hypotheses)
        ]
        assert hypotheses[int(np.argmax(found))] == truth

    @settings(max_examples=50)
    @given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 4))
    def test_always_probabilities(self, seed: int, stems: int, classes: int) -> None:
        rng = np.random.default_rng(seed)
        ratios = np.exp(rng.choice([-300.0, -20, -1, 0, 1, 20, 300], (stems, classes)))
        flags = rng.random((stems, classes)) < 0.4
        posterior = converged(ratios, flags, rng.integers(0, 3, stems).astype(str).tolist())
        for values in (posterior.probabilities, posterior.apart, set_probability(posterior.probabilities, flags)):
            assert ((values >= 0) & (values <= 1)).all()

    def test_hundreds_of_stems_in_a_song(self) -> None:
        ratios = np.exp(np.random.default_rng(0).choice([-18.0, 18.0], (500, 2)))
        posterior = converged(ratios, ratios > 1, ["a"] * 500)
        assert (
            np.isfinite(posterior.probabilities).all()
            and ((posterior.probabilities > 0.5) == (ratios > 1)).mean() > 0.9
        )

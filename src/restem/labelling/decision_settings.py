"""What the decision assumes before it has seen a dataset. All of it is kept with every run."""

from __future__ import annotations

from dataclasses import dataclass

from restem.errors import UsageError

Counts = tuple[float, float]
"""Imagined observations of yes and of no: a prior over a rate (beta distribution)."""


@dataclass(frozen=True)
class DecisionSettings:
    """Thresholds and priors of the decision. They were chosen with `benchmarks/labels.py` on seeds 4 to 7."""

    change_above: float = 0.6
    """A label is changed when it is wrong with at least this probability."""
    doubt_above: float = 0.3
    """A label that stands makes its stem `unsure` when it is wrong with at least this probability."""
    sure_right: float = 0.9
    """Of the stems that are not `unsure`, this share must be expected to have exactly the right label set."""
    changed_ahead: float = 0.2
    """A stem whose labels were changed becomes `unsure` for that after one that is kept and by so much more certain: it
    goes back to labels that are probably wrong."""

    held: tuple[float, ...] = (0.995, 0.97, 0.92, 0.85, 0.75, 0.65, 0.5)
    """How often a stem holds a class that it is given: the hypotheses, over which the outcome is averaged. A dataset is
    clean, or a few of its labels are wrong, or half of them are."""
    held_weights: tuple[float, ...] = (0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)
    """The probability of each hypothesis before any score is seen."""
    held_worth: float = 100.0
    """How many stems the belief is worth that the rate of a class is that of the hypothesis."""
    also: Counts = (0.5, 15.0)
    """How often another stem of the song holds the class as well, where one that is given it holds it."""
    moved: Counts = (10.0, 2.0)
    """How often another stem of the song holds the class, where none that is given it does."""
    unclaimed: Counts = (5.0, 2.0)
    """How often a stem of the song holds a class that the song gives to no stem."""
    rates_alike: float = 100.0
    """How many stems the belief is worth that these rates are the same for all classes."""
    shares_worth: float = 10.0
    """How many stems the belief is worth that stems of unknown labels hold a class as often as others are given it."""
    further: float = 0.01
    """How often a class that has moved is in one stem more."""
    nothing: float = 0.02
    """How often a stem that sounds holds none of the classes."""

    mean_distance: float = 0.5
    """How far a class moves the mean of its logits up, or its absence down, in standard deviations of all logits."""
    means_worth: float = 5.0
    """How many stems the belief about the means is worth."""
    spread_worth: float = 100.0
    """How many stems the belief is worth that the spread of the logits is one standard deviation of all of them."""
    spreads_alike: float = 100.0
    """How many stems the belief is worth that the spread is the same for all classes."""

    believed_given: float = 0.95
    """P(present) of a given label before any score is seen."""
    believed_not_given: float = 0.03
    """P(present) of a class that is not given before any score is seen."""
    rounds: int = 20
    """How often score distributions and posterior are estimated in turn."""
    least_score: float = 1e-5
    """Scores are clipped to this and to 1 minus this before their logit is taken."""
    largest_ratio: float = 1e8
    """Likelihood ratios are clipped to this and to its inverse."""

    def __post_init__(self) -> None:
        if not 0.0 < self.doubt_above <= self.change_above <= 1.0:
            raise UsageError("`doubt_above` must be above 0 and at most `change_above`, which is at most 1.")
        if not 0.0 <= self.sure_right < 1.0:
            raise UsageError("`sure_right` must be at least 0 and below 1.")
        if len(self.held) != len(self.held_weights) or not all(0.0 < rate < 1.0 for rate in self.held):
            raise UsageError("`held` must be rates between 0 and 1, and `held_weights` as many.")
        if self.rounds < 1:
            raise UsageError("`rounds` must be at least 1.")

"""P(a stem holds exactly these classes), from the probability of each class.

The classes of a stem are independent but for one fact: a stem that sounds holds something, all but a share `nothing`
of the time. So with independent probabilities b, a set S of classes has

    P(S) = prod(b of the classes in S) * prod(1 - b of the others) / Z ,   times `nothing` for the empty set,
    Z = 1 - (1 - nothing) * prod(1 - b) .

The b are those under which the probability of each class comes out as p: b = Z p, so Z is the root of

    Z = 1 - (1 - nothing) * prod(1 - Z p) ,

the only one in (0, 1], since the right side is concave. P(S) is then a distribution over sets whose marginals are p:
it never exceeds the probability of any of its own classes, nor 1 - p of any other.
"""

from __future__ import annotations

import numpy as np

from restem.labelling.decision_settings import DecisionSettings

_BISECTIONS = 60  # halvings of [0, 1]: more than a double can tell apart


def set_probability(
    probabilities: np.ndarray, flags: np.ndarray, nothing: float = DecisionSettings.nothing
) -> np.ndarray:
    """(stem,) the probability that each stem holds the classes that are flagged, and no other.

    Parameters
    ----------
    probabilities
        (stem, class) in [0, 1], P(the class is in the stem).
    flags
        (stem, class), the set that is asked about.
    nothing
        How often a stem that sounds holds none of the classes.

    Examples
    --------
    >>> p = np.array([[0.9, 0.2]])
    >>> [round(float(set_probability(p, np.array([s]))[0]), 3) for s in ([1, 0], [1, 1], [0, 1], [0, 0])]
    [0.798, 0.102, 0.098, 0.002]
    """
    flags = np.asarray(flags, bool)
    normaliser = _normaliser(probabilities, nothing)
    independent = probabilities * normaliser[:, None]
    found = np.where(flags, independent, 1.0 - independent).prod(axis=1) / normaliser
    return np.where(flags.any(axis=1), found, nothing * found)


def _normaliser(probabilities: np.ndarray, nothing: float) -> np.ndarray:
    """Z of every stem, (stem,), by bisection."""
    low, high = np.zeros(len(probabilities)), np.ones(len(probabilities))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = 1.0 - (1.0 - nothing) * (1.0 - middle[:, None] * probabilities).prod(axis=1) > middle
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return high

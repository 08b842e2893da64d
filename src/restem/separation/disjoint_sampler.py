"""Draws stems whose label sets are disjoint and together cover as many classes as possible."""

from __future__ import annotations

from functools import cache

import numpy as np


class DisjointSampler:
    """Draws candidates with disjoint label sets that together cover as many classes as possible.

    flags: (candidate, class), the label set of each. Candidates without a label are never drawn.
    weights: (candidate,) above 0, the relative frequency of each where several fit; equal by default.
    """

    def __init__(self, flags: np.ndarray, weights: np.ndarray | None = None) -> None:
        weights = np.ones(len(flags)) if weights is None else weights
        masks = flags.astype(np.int64) @ (1 << np.arange(flags.shape[1], dtype=np.int64))
        order = np.argsort(masks, kind="stable")
        sets, counts = np.unique(masks, return_counts=True)
        members = np.split(order, np.cumsum(counts)[:-1])
        self._members = {int(mask): stems for mask, stems in zip(sets, members, strict=True) if mask}
        self._up_to = {mask: np.cumsum(weights[stems]) for mask, stems in self._members.items()}
        self._all = sum(1 << which for which in range(flags.shape[1]))
        self._single = sum(mask for mask in self._members if mask.bit_count() == 1)
        self._reach = cache(self._find_reach)

    def draw(self, generator: np.random.Generator) -> list[int]:
        """The indices of disjoint candidates that cover as many classes as any disjoint candidates could.

        The classes are visited in random order. For each, a candidate is drawn, with a probability proportional to its
        weight, among those that hold the class and keep the best cover possible.
        """
        drawn: list[int] = []
        left = self._all
        while (goal := self._reach(left)) > 0:
            # Classes that are in no best cover are skipped.
            options: list[int] = []
            for which in generator.permutation(self._all.bit_length()).tolist():
                options = self._options(left, 1 << which, goal) if left >> which & 1 else []
                if options:
                    break
                left &= ~(1 << which)
            heavy = np.cumsum([self._up_to[mask][-1] for mask in options])
            place = generator.random() * heavy[-1]
            chosen = min(int(np.searchsorted(heavy, place, "right")), len(options) - 1)
            mask = options[chosen]
            up_to = self._up_to[mask]
            which = np.searchsorted(up_to, place - (heavy[chosen] - up_to[-1]), "right")
            drawn.append(int(self._members[mask][min(which, len(up_to) - 1)]))
            left &= ~mask
        return drawn

    def _options(self, left: int, wanted: int, goal: int) -> list[int]:
        """The label sets within `left` that hold the class `wanted` and with which `goal` classes can be covered."""
        return [
            mask
            for mask in self._members
            if mask & wanted and mask & ~left == 0 and mask.bit_count() + self._reach(left & ~mask) == goal
        ]

    def _find_reach(self, left: int) -> int:
        """The largest number of the classes in `left` that disjoint candidates can cover."""
        if left & ~self._single == 0:
            return left.bit_count()
        lowest = left & -left
        best = self._reach(left & ~lowest)
        for mask in self._members:
            if mask & lowest and mask & ~left == 0 and best < left.bit_count():
                best = max(best, mask.bit_count() + self._reach(left & ~mask))
        return best

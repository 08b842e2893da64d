"""Signal-to-distortion ratios of separated sources: global SDR, framewise SDR (BSSEval v4) and SI-SDR.

    global SDR      energy of the reference over energy of the error, over a whole song: the score of SDX'23
    framewise SDR   the same over frames of one second: BSSEval v4, whose song value is the median over frames
    SI-SDR          independent of the level of the estimate

The SDR of BSSEval v4 divides the error into spatial distortion, interference and artefacts with filters of 512 taps,
and then sums the three again: the sum is the whole error, for which no filter is needed.
"""

from __future__ import annotations

import numpy as np

FRAME_S = 1.0

# What SDX'23 adds to both energies.
_EPSILON = 1e-7


class SdrMeter:
    """Measures SDRs from blocks of any length; stores six numbers per frame and source, and no audio."""

    def __init__(self, rate_hz: int, sources: int) -> None:
        self.frame = round(FRAME_S * rate_hz)
        self.sources = sources
        self._frames: list[np.ndarray] = []
        self._current = np.zeros((6, sources))
        self._filled = 0

    def add(self, references: np.ndarray, estimates: np.ndarray) -> None:
        """references, estimates: (source, channel, sample), of one shape. Raises ValueError for NaN or infinity."""
        if references.shape != estimates.shape or references.shape[0] != self.sources:
            raise ValueError(f"references {references.shape} and estimates {estimates.shape} do not fit")
        if not np.isfinite(estimates).all():
            raise ValueError("the estimate holds NaN or infinite samples")
        start = 0
        while start < references.shape[2]:
            stop = min(references.shape[2], start + self.frame - self._filled)
            self._current += _sums(references[:, :, start:stop], estimates[:, :, start:stop])
            self._filled += stop - start
            start = stop
            if self._filled == self.frame:
                self._frames.append(self._current)
                self._current, self._filled = np.zeros((6, self.sources)), 0

    def global_sdr(self) -> np.ndarray:
        """(source,) in dB; NaN where the reference is silent throughout.

        Fabbro et al., "The Sound Demixing Challenge 2023 - Music Demixing Track" (TISMIR 2024), equation 1.
        """
        signal, error = self._total()[:2]
        ratio = 10.0 * np.log10((signal + _EPSILON) / (error + _EPSILON))
        return np.where(signal > 0, ratio, np.nan)

    def framewise_sdr(self) -> np.ndarray:
        """(source, frame) in dB, as `museval.evaluate` gives them.

        The last frame counts if it is whole, or the only one. A frame in which a reference or an estimate is silent is
        NaN for all sources; museval calls a frame silent if its channels sum to zero. A perfect frame is infinite.
        Stöter, Liutkus and Ito, "The 2018 Signal Separation Evaluation Campaign" (LVA/ICA 2018).
        """
        frames = np.array(self._frames or [self._current])
        signal, error, _, _, reference_sound, estimate_sound = frames.transpose(1, 2, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio: np.ndarray = 10.0 * np.log10(signal / error)
        silent = (reference_sound == 0).any(axis=0) | (estimate_sound == 0).any(axis=0)
        ratio[error == 0] = np.inf
        ratio[:, silent] = np.nan
        return ratio

    def median_sdr(self) -> np.ndarray:
        """(source,) the median over the frames that are not NaN; NaN if all are."""
        found = [row[~np.isnan(row)] for row in self.framewise_sdr()]
        return np.array([np.median(row) if len(row) else np.nan for row in found])

    def si_sdr(self) -> np.ndarray:
        """(source,) in dB, over all channels, without removing the mean; NaN where the reference is silent throughout.

        Le Roux et al., "SDR - half-baked or well done?" (ICASSP 2019), equation 5.
        """
        signal, _, estimate, product = self._total()[:4]
        with np.errstate(divide="ignore", invalid="ignore"):
            target = product**2 / signal
            # Rounding may make the error energy of a perfect estimate negative.
            ratio: np.ndarray = 10.0 * np.log10(target / np.maximum(estimate - target, 0.0))
        return np.where(signal > 0, ratio, np.nan)

    def _total(self) -> np.ndarray:
        return np.sum([*self._frames, self._current], axis=0)


def _sums(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """(6, source): energies of reference, error, estimate; their product; absolute channel sums of both."""
    reference, estimate = references.astype(np.float64), estimates.astype(np.float64)
    error = reference - estimate
    return np.stack(
        [
            np.einsum("scn,scn->s", reference, reference),
            np.einsum("scn,scn->s", error, error),
            np.einsum("scn,scn->s", estimate, estimate),
            np.einsum("scn,scn->s", reference, estimate),
            np.abs(reference.sum(axis=1)).sum(axis=1),
            np.abs(estimate.sum(axis=1)).sum(axis=1),
        ]
    )


def global_sdr(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Global SDR in dB, (source,), of arrays (source, channel, sample); see `SdrMeter.global_sdr`."""
    return _measured(references, estimates, 44100).global_sdr()


def framewise_sdr(references: np.ndarray, estimates: np.ndarray, rate_hz: int) -> np.ndarray:
    """BSSEval v4 SDR in dB, (source, frame), of arrays (source, channel, sample); see `SdrMeter.framewise_sdr`."""
    return _measured(references, estimates, rate_hz).framewise_sdr()


def si_sdr(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """SI-SDR in dB, (source,), of arrays (source, channel, sample); see `SdrMeter.si_sdr`."""
    return _measured(references, estimates, 44100).si_sdr()


def _measured(references: np.ndarray, estimates: np.ndarray, rate_hz: int) -> SdrMeter:
    meter = SdrMeter(rate_hz, len(references))
    meter.add(references, estimates)
    return meter

"""Our SDR against museval's: the same figures, and how much sooner.

    python benchmarks/sdr.py

30 s of four stereo sources at 44.1 kHz, with estimates that mix them up a little. museval (which needs ffmpeg to
import) computes BSSEval v4 with filters of 512 taps; restem's whole `SdrMeter` is timed: global SDR, framewise SDR and
SI-SDR. Times are processor time, so that a busy machine does not change the ratio.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np

from common import parse, publish, ratio, rounded, time_in_turn
from restem.evaluation.sdr import SdrMeter

RATE_HZ = 44100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=1)
    options = parse(parser, seconds=2)
    rng = np.random.default_rng(0)
    references = 0.1 * rng.standard_normal((4, 2, options.seconds * RATE_HZ))
    estimates = np.einsum("ij,jcn->icn", np.eye(4) + 0.2 * rng.standard_normal((4, 4)), references)
    found: dict[str, np.ndarray] = {}
    times = time_in_turn(
        {
            "restem": lambda: found.update(restem=by_restem(references, estimates)),
            "museval": lambda: found.update(museval=by_museval(references, estimates)),
        },
        options.repeats,
    )
    difference = float(np.abs(found["restem"] - found["museval"]).max())
    faster = ratio(times.processor, "museval", "restem")
    publish(
        "sdr",
        [
            ("audio", f"{options.seconds} s, 4 stereo sources", ""),
            ("museval, processor time", f"{min(times.processor['museval']):.1f} s", ""),
            ("restem, processor time", f"{min(times.processor['restem']):.2f} s", ""),
            ("museval / restem", f"{faster:.0f} x", ">= 100 x"),
            ("largest difference of the SDR of a frame", f"{difference:.1e} dB", "<= 1e-6 dB"),
        ],
        {
            "seconds": {name: rounded(values) for name, values in times.processor.items()},
            "museval_of_restem": round(faster, 1),
            "difference_db": difference,
        },
        quick=options.quick,
    )


def by_restem(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """(source, frame)."""
    meter = SdrMeter(RATE_HZ, len(references))
    meter.add(references, estimates)
    meter.global_sdr(), meter.si_sdr()
    return meter.framewise_sdr()


def by_museval(references: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """(source, frame)."""
    import museval

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: np.ndarray = museval.evaluate(
            references.transpose(0, 2, 1), estimates.transpose(0, 2, 1), win=RATE_HZ, hop=RATE_HZ
        )[0]
    return found


if __name__ == "__main__":
    main()

"""What the installed encoders cost: processor time for a segment of 3 s on one core, and memory.

    python benchmarks/encoders.py

Each encoder is measured in a process of its own. What is not installed is left out: `restem encoders add musicnn`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from statistics import median
from typing import Any

import numpy as np

from common import parse, publish

REPEATS = 5
SEGMENTS = 10


def main() -> None:
    from restem.labelling.encoders.registry import installed

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments = parse(parser)
    figures, claims = {}, []
    for name in list(installed())[: 1 if arguments.quick else None]:
        command = [sys.executable, __file__, name]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        one = figures[name] = json.loads(done.stdout)
        claims.append((f"{name}: processor time for 3 s", f"{one['segment_ms']:.0f} ms", ""))
        claims.append((f"{name}: memory beside Python and torch", f"{one['memory_mb']:.0f} MB", ""))
    publish("encoders", claims, figures, quick=arguments.quick)


def measure(name: str) -> dict[str, Any]:
    import torch

    from restem.labelling.encoders.registry import load_encoder
    from restem.labelling.encoders.stretches import EmbeddingSettings, windows_per_segment

    torch.set_num_threads(1)
    before = peak_mb()
    encoder = load_encoder(name)
    card = encoder.card
    count = SEGMENTS * windows_per_segment(EmbeddingSettings(), card.rate_hz, card.window_samples)
    rng = np.random.default_rng(0)
    windows = (0.1 * rng.standard_normal((count, card.window_samples))).astype(np.float32)
    encoder.embed(windows[:1])
    times = []
    for _ in range(REPEATS):
        begun = time.process_time()
        encoder.embed(windows)
        times.append((time.process_time() - begun) / SEGMENTS)
    return {"segment_ms": round(1000 * median(times), 1), "memory_mb": round(peak_mb() - before, 1)}


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


if __name__ == "__main__":
    if sys.argv[1:] and not sys.argv[1].startswith("-"):
        print(json.dumps(measure(sys.argv[1])))
    else:
        main()

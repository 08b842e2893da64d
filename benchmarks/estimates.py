"""How long commands take against what `--dry-run` says before.

    python benchmarks/estimates.py
    python benchmarks/estimates.py --quick

Each command runs as a user starts it, in a process of its own: first with `--dry-run`, then for real. Only features are
in the cache when the separator is trained.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import parse, publish, song_folders

FACTOR = 3.0
PLAN = """
import json, sys
from restem.cli import shared
from restem.cli.main import run_command
from restem.planning.plan import plan
shared_plan = {}
def keep(work, estimate):
    shared_plan["seconds"] = plan(work, estimate).seconds
for name in ("auditing", "relabelling", "separation"):
    __import__(f"restem.cli.{name}", fromlist=["say_plan"]).say_plan = keep
assert run_command([*sys.argv[1:], "--dry-run"]) == 0
print("\\n" + json.dumps(shared_plan))
"""


def commands(songs: Path, work: Path, quick: bool) -> dict[str, list[str]]:
    """Name -> the command; each may need what the ones before it left."""
    cache = ["--cache", str(work / "cache")]
    steps, separator_steps = (["2"], ["4"]) if quick else (["30"], ["20"])
    small = ["--batch", "4", "--segment", "1", "--set", "width=16"] if quick else []
    noisy, run, model = str(work / "noisy"), str(work / "run"), str(work / "model")
    return {
        "corrupt": ["corrupt", str(songs), noisy, "--rate", "0.2"],
        "refine": ["refine", noisy, "--out", run, "--encoder", "none", "--steps", *steps, *cache],
        "audit": ["audit", noisy, "--out", str(work / "audit")],
        "export": ["export", run, str(work / "exported"), "--layout", "musdb"],
        "train": ["train", run, "--out", model, "--unsure", "--steps", *separator_steps, *small, *cache],
        "separate": ["separate", model, f"{songs}/*/other.*", "--out", str(work / "separated")],
        "evaluate": ["evaluate", model, str(songs), "--out", str(work / "result")],
    }


def estimated(command: list[str]) -> float:
    done = subprocess.run([sys.executable, "-c", PLAN, *command], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def taken(command: list[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "restem", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=6)
    arguments = parse(parser, songs=2)
    os.environ["OMP_NUM_THREADS"] = "1"
    claims, figures = [], {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        songs = work / "songs"
        songs.mkdir()
        for source in song_folders(arguments.songs, work, quick=arguments.quick):
            (songs / source.name).symlink_to(source)
        for name, command in commands(songs, work, arguments.quick).items():
            before, after = estimated(command), taken(command)
            figures[name] = {"estimated_s": round(before, 2), "taken_s": round(after, 2)}
            words = f"{before:.1f} s / {after:.1f} s = {before / after:.2f}"
            claims.append((f"{name}: estimated / taken", words, f"within a factor of {FACTOR:g}"))
            print(*claims[-1], flush=True)
    publish("estimates", claims, figures, quick=arguments.quick)


if __name__ == "__main__":
    main()

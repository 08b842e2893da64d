"""Time and memory of what is done for every stem, with 1,000, 10,000 and 100,000 stems of 60 segments.

    python benchmarks/scaling.py [--stems 1000 10000 100000] [--work DIR]

The stems are fabricated (`fabricated.py`): there is no sound, and what a network costs, which is the same for every
segment, is left out. Trainings draw their first batches, and scoring reads one row of every stem. All else is what
`refine`, `audit`, `train`, `review` and `report` do, in one process. Each command is a process of its own, and of each
of its stages the processor time and the peak of its memory are kept, the 0.4 GB of Python and torch included. Growth is
the time with the most stems over that with ten times fewer: 10 is linear.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from common import parse, publish
from fabricated import HOP_S, class_of, decisions, fabricate, in_memory, write_fingerprints
from restem.executing.processes import Processes
from restem.labelling import training
from restem.labelling.computing import Computing
from restem.labelling.decision_settings import DecisionSettings
from restem.labelling.judging import judge, stem_scores
from restem.labelling.known_labels import known_labels
from restem.labelling.network import BATCH
from restem.labelling.pretrained import FOLDER as PRETRAINED_FOLDER
from restem.labelling.results import labels_table, segments_tables
from restem.labelling.scoring import ScoringTask
from restem.labelling.settings import RefineSettings
from restem.labelling.training import TrainingTask
from restem.runs.run import write_run

# Whose functions are replaced by others, or measured.
prepared: Any = import_module("restem.labelling.prepared")
refining: Any = import_module("restem.labelling.refining")
rounds: Any = import_module("restem.labelling.rounds")

DRAWN = 20  # batches of every training
LIMIT_S = 3600.0
SETTINGS = RefineSettings(hop_s=HOP_S)


class Stages:
    """Processor time, wall time and peak memory of the stages of one command, in order; the peak is Linux's."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, float]] = {}
        self._open: list[str] = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measures the body, which may hold other stages. A stage that is met again adds to what it took before."""
        one = self.found.setdefault(name, {"wall_s": 0.0, "processor_s": 0.0, "peak_gb": 0.0})
        self._note_peak()
        self._open.append(name)
        wall, processor = time.perf_counter(), time.process_time()
        yield
        one["wall_s"] += time.perf_counter() - wall
        one["processor_s"] += time.process_time() - processor
        self._note_peak()
        self._open.pop()
        print(name, json.dumps(one), file=sys.stderr, flush=True)

    def _note_peak(self) -> None:
        """Adds the peak since the last time to all stages that are open, and begins anew."""
        peak = int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1e6
        Path("/proc/self/clear_refs").write_text("5")
        for name in self._open:
            self.found[name]["peak_gb"] = max(self.found[name]["peak_gb"], peak)

    def around(self, owner: Any, function: str, name: str) -> None:
        """Makes a function of a class or module a stage."""
        inner = getattr(owner, function)

        def measured(*arguments: Any, **named: Any) -> Any:
            with self(name):
                return inner(*arguments, **named)

        setattr(owner, function, measured)


class _StoppedError(Exception):
    """Stands for a kill."""


def refine(work: Path, stems: int, stages: Stages) -> None:
    """Killed after its features, and started again."""
    dataset = fabricate(work, stems)
    said = decisions(dataset)
    largest = 0

    def note(task: Any) -> None:
        nonlocal largest
        arrays: list[int] = []
        # Arrays are counted, not copied.
        rest = pickle.dumps(task, protocol=5, buffer_callback=lambda one: arrays.append(one.raw().nbytes))
        largest = max(largest, len(rest) + sum(arrays))

    def train(task: TrainingTask) -> None:
        note(task)
        with stages("first batches of the trainings"):
            draw = training._draw(task, task.pool)
            for batch in range(DRAWN):
                draw(0, batch * task.training.batch)
        shutil.copytree(PRETRAINED_FOLDER, task.folder, dirs_exist_ok=True)

    def look(task: ScoringTask, size: int, kind: type) -> np.ndarray:
        note(task)
        rows = task.stems
        holds = np.full(len(rows), -1)
        for stem in np.unique(task.stem).tolist():
            holds[stem] = class_of(rows[stem][0:1])
        found: np.ndarray = np.zeros((len(task.stem), size), kind)
        rng = np.random.default_rng(len(task.stem))
        for first in range(0, len(found), BATCH):
            part = found[first : first + BATCH]
            part[...] = rng.standard_normal(part.shape, np.float32) - 2.0
            part[np.arange(len(part)), holds[task.stem[first : first + BATCH]]] += 4.0
        return found

    prepared.look = lambda *_: []  # there is no sound to look at
    refining.findings = lambda *_: []  # many stems are equal
    rounds.train_classifier = train
    rounds.score_segments = lambda task: look(task, 4, np.float32)
    rounds.embed_segments = lambda task: look(task, 384, np.float16)

    def run(**changes: Any) -> None:
        arguments = {"cache": work / "cache", "workers": 1, "decided": said, **changes}
        refining.refine_labels(dataset, work / "run", SETTINGS, **arguments)

    def stop(*_: Any) -> None:
        raise _StoppedError

    kept = refining.known_labels
    features = refining.load_features
    refining.known_labels = stop
    stages.around(refining, "load_features", "features that are in the store")
    with suppress(_StoppedError):
        run()
    refining.known_labels, refining.load_features = kept, features
    own = rounds.Refinement
    for owner, function, name in (
        (refining, "load_features", "features, started again"),
        (refining, "known_labels", "known labels"),
        (own, "_apply", "listening, without the network"),
        (own, "_training", "tasks of the trainings"),
        (own, "scores", "scores of stems, from segments and heads"),
        (rounds, "judge", "decision"),
        (own, "targets", "targets of the trainings"),
        (refining, "labels_table", "labels.csv"),
        (refining, "write_run", "tables of the run"),
    ):
        stages.around(owner, function, name)
    with stages("all of it"):
        run()
    stages.found["largest task"] = {"gb": largest / 1e9}


def arrays(work: Path, stems: int, stages: Stages) -> None:
    """What a refinement holds of all segments, one stage after another, without any file of a stem.

    The decision is made under one hypothesis and in three rounds, not under seven and in 20, to save time.
    """
    features = in_memory(stems)
    decision = DecisionSettings(held=(0.97,), held_weights=(1.0,), rounds=3)
    settings = RefineSettings(hop_s=HOP_S, decision=decision)
    config = settings.classifier(features.dataset.taxonomy.classes)
    computing = Computing("cpu", "32-true", 1)
    refinement = rounds.Refinement(features, work / "arrays", settings, computing, Processes(1), config)
    rounds.embed_segments = lambda task: np.zeros((len(task.stem), 384), np.float16)
    stem = features.segments.stem
    logits = np.random.default_rng(0).standard_normal((len(stem), 4), np.float32) - 2.0
    logits[np.arange(len(stem)), stem % 4] += 4.0
    with stages("arrays: known labels"):
        known = known_labels(features, decisions(features.dataset))
    with stages("arrays: scores of stems"):
        scores = stem_scores(features, logits, settings)
    with stages("arrays: embeddings to a file"):
        heads = refinement.classifier_heads(rounds.Timed(None))
    with stages("arrays: scores of heads"):
        heads.scores(None, scores)
    with stages("arrays: decision"):
        judged = judge(features, scores, logits, settings, known)
    with stages("arrays: targets"):
        targets = refinement.targets(judged, known)
    with stages("arrays: tasks of the trainings"):
        tasks = [refinement._training(work / "arrays", targets, fold) for fold in refinement.folds]
    del tasks
    with stages("arrays: tables"):
        taxonomy = features.dataset.taxonomy
        description = {"dataset": {"root": "songs", "classes": list(taxonomy.classes), "aliases": {}}}
        labels, parts = labels_table(features, judged.outcome), segments_tables(features, judged.over_time)
        write_run(work / "arrays", taxonomy, labels, parts, description)
    shutil.rmtree(work / "arrays")


def audit(work: Path, stems: int, stages: Stages) -> None:
    """The search for duplicates."""
    from restem.auditing.duplicates import find_copies
    from restem.auditing.songs import read_codes

    files = write_fingerprints(work, stems)
    with stages("index of an audit"):
        find_copies([one for file in files for one in read_codes(file)])


def separators(work: Path, _: int, stages: Stages) -> None:
    """What a training of separators does before its first step."""
    from restem.audio.pcm import Pcm, PcmStore
    from restem.runs.run import open_run
    from restem.separation.remixing import Remixer, RemixSettings
    from restem.separation.training_stems import find_places, training_stems_of_run

    run, store = open_run(work / "run"), PcmStore(work / "cache", 44100, 2)
    # The sound itself is not measured, and there is none.
    Pcm.read = lambda *asked: np.zeros((2, asked[-1]), np.float32)  # type: ignore[method-assign,assignment]
    with stages("training stems of separators"):
        learned = training_stems_of_run(run)
    with stages("places of separators"):
        places = find_places(learned, store, 3.0)
    with stages("remixer of separators, 10 batches"):
        remixer = Remixer(learned, places, store, 3.0, RemixSettings(), 0)
        for batch in range(10):
            remixer.batch(0, batch * 8, 8)


def review(work: Path, _: int, stages: Stages) -> None:
    """What the review page asks for."""
    from restem.review.session import ReviewSession
    from restem.runs.run import open_run

    run = shutil.copytree(work / "run", work / "reviewed", dirs_exist_ok=True)
    with stages("review: start"):
        session = ReviewSession(open_run(run), work / "cache")
    with stages("review: list of stems"):
        listed = session.stems()
        sent = len(json.dumps(listed))
    with stages("review: 20 stems and decisions"):
        for index in listed["queue"][:20]:
            session.stem(index)
            session.decide(index, "drums", "ada")
            session.changes(0)
    stages.found["review: list of stems, sent"] = {"gb": sent / 1e9}


def report(work: Path, _: int, stages: Stages) -> None:
    """The report."""
    from restem.review.report import write_report
    from restem.runs.run import open_run

    run = open_run(work / "run")
    with stages("report"):
        path = write_report(run, work / "report.html")
    stages.found["report, size"] = {"gb": path.stat().st_size / 1e9}


COMMANDS = {one.__name__: one for one in (refine, arrays, audit, separators, review, report)}


def measured(command: str, work: Path, stems: int) -> dict[str, dict[str, float]]:
    """The stages of a command, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, "--command", command, "--stems", str(stems), "--work", str(work)],
        env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stems", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--work", type=Path, help="keep everything here: 20 GB for 100,000 stems")
    parser.add_argument("--command", choices=COMMANDS, help="only this one, as JSON")
    arguments = parse(parser, stems=[40, 80])
    with tempfile.TemporaryDirectory() as aside:
        work = arguments.work or Path(aside)
        if arguments.command:
            stages = Stages()
            COMMANDS[arguments.command](work, arguments.stems[0], stages)
            print(json.dumps(stages.found))
            return
        sizes: dict[int, dict[str, dict[str, float]]] = {}
        for stems in sorted(arguments.stems):
            own = work / str(stems)
            fabricate(own, stems)
            sizes[stems] = {}
            for command in COMMANDS:
                sizes[stems].update(measured(command, own, stems))
            if not arguments.work:
                shutil.rmtree(own)
        publish("scaling", claims(sizes), {"sizes": sizes}, quick=arguments.quick)


def claims(sizes: dict[int, dict[str, dict[str, float]]]) -> list[tuple[str, str, str]]:
    *_, before, most = [0, *sizes]
    rows = []
    for name, one in sizes[most].items():
        if "gb" in one:
            rows.append((name, f"{1000 * one['gb']:.1f} MB", ""))
            continue
        growth = ""
        if before:
            # What takes no time at all would grow by any factor.
            growth = f"{one['processor_s'] / max(0.01, sizes[before][name]['processor_s']):.1f}"
        rows.append((name, f"{one['processor_s']:.1f} s, {one['peak_gb']:.2f} GB, x {growth}", "x 10 or less"))
    return rows


if __name__ == "__main__":
    main()

"""Training from weights of doubt: what becomes of stems whose labels may be wrong.

    python benchmarks/doubt.py                # about an hour on 2 idle cores; started again, it goes on
    python benchmarks/doubt.py --seeds 1

Of 40 rendered songs, 10 are only measured on. The stems of the other 30 are regrouped at several rates. The same small
separator is trained, with the same steps, on

    truncated    the noisy stems under the given labels, the largest losses of each batch ignored (0.7, 0.5, 0.3)
    left out     what `restem refine` found, without the unsure stems: the default of `restem train`
    weighed      the same with the unsure stems, each place drawn as often as its label set is likely right (`--weigh`)

and, at the rate 0, on the stems as they are (`clean`). The seeds are those of the corruption, the refinement and the
training. Intervals are over songs, each the mean over seeds.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import restem
from common import parse, publish, song_folders
from restem.dataset.table import Dataset
from restem.evaluation.separation import paired_interval, read_evaluation
from restem.separation.train_settings import TrainSettings

RATES = (0.0, 0.3, 0.5)
SIDES: dict[str, dict[str, Any]] = {
    "truncated": {"truncate": (0.7, 0.5, 0.3)},
    "left out": {},
    "weighed": {"weigh": True},
}

# Small enough for a busy machine: half the usual rate, and a network of a fifth of the cost.
SMALL = TrainSettings(
    parameters={"n_fft": 2048, "hop": 1024, "bands": 32, "width": 32, "depth": 4},
    rate_hz=22050, steps=300, validation=0.0,
)  # fmt: skip
QUICK = replace(SMALL, parameters={"n_fft": 2048, "hop": 1024, "bands": 8, "width": 4, "depth": 1}, steps=2, batch=2)


@dataclass(frozen=True)
class Job:
    """One training and its measurement."""

    work: Path
    rate: float
    side: str
    seed: int
    settings: TrainSettings

    @property
    def folder(self) -> Path:
        return self.work / "separators" / f"{self.rate}-{self.side.replace(' ', '-')}-{self.seed}"

    @property
    def data(self) -> Dataset | restem.Run:
        if self.side == "clean":
            return restem.open_dataset(self.work / "clean")
        if self.side == "truncated":
            return restem.open_dataset(self.work / f"noisy{self.rate}-{self.seed}")
        return restem.open_run(self.work / f"run{self.rate}-{self.seed}")


def prepare(work: Path, songs: list[Path], rate: float, seed: int, steps: int | None) -> None:
    """The songs to train on and to measure on, a noisy copy, and its refinement."""
    for number, song in enumerate(songs):
        folder = work / ("unheard" if number % 4 == 3 else "clean") / song.name
        if not folder.exists():
            shutil.copytree(song, folder)
    noisy = work / f"noisy{rate}-{seed}"
    if not noisy.exists():
        restem.corrupt(restem.open_dataset(work / "clean"), noisy, kind="regroup", rate=rate, seed=seed, workers=1)
    restem.refine(
        restem.open_dataset(noisy), work / f"run{rate}-{seed}", seed=seed, cache=work / "cache", workers=1,
        encoder="none", steps=steps, device="cpu",
    )  # fmt: skip


def carry_out(job: Job) -> pl.DataFrame:
    """Trains and measures, unless that was done before; one row a class and song."""
    if not (job.folder / "result" / "songs.csv").exists():
        separator = restem.train(job.data, job.folder, job.settings, cache=job.work / "cache", workers=1, device="cpu")
        restem.evaluate(
            restem.open_dataset(job.work / "unheard"), model=separator, out=job.folder / "result", device="cpu"
        )
    return read_evaluation(job.folder / "result").select(
        pl.lit(job.rate).alias("rate"), pl.lit(job.side).alias("side"), pl.lit(job.seed).alias("seed"),
        "song", "class", "sdr",
    )  # fmt: skip


def _mean(table: pl.DataFrame) -> float:
    return float(np.mean(table["sdr"].drop_nulls().to_numpy()))


def of_songs(table: pl.DataFrame, rate: float, side: str) -> np.ndarray:
    """The SDR of every song, the mean over seeds and classes."""
    mine = table.filter((pl.col("rate") == rate) & (pl.col("side") == side))
    return mine.group_by("song").agg(pl.col("sdr").mean()).sort("song")["sdr"].to_numpy()


def claims(table: pl.DataFrame) -> list[tuple[str, str, str]]:
    """What was measured next to what is asked."""
    rows = []
    for rate in table["rate"].unique(maintain_order=True):
        sides = table.filter(pl.col("rate") == rate)["side"].unique(maintain_order=True).to_list()
        rows += [(f"noise {rate}, {side}", f"{of_songs(table, rate, side).mean():.2f} dB", "") for side in sides]
        weighed = of_songs(table, rate, "weighed")
        for side in sides:
            if side != "weighed":
                mean, low, high = paired_interval(weighed - of_songs(table, rate, side))
                asked = "above 0" if rate else ">= -0.05 dB"
                rows.append((f"  weighed against {side}", f"{mean:+.2f} dB ({low:+.2f} to {high:+.2f})", asked))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    parser.add_argument("--songs", type=int, default=40, help="a quarter of them is measured on")
    parser.add_argument("--work", type=Path, default=Path("bench-out/doubt"), help="where everything is kept")
    with tempfile.TemporaryDirectory() as aside:
        arguments = parse(parser, seeds=[1], songs=8, rates=[0.3], work=Path(aside))
        settings = QUICK if arguments.quick else SMALL
        songs = song_folders(arguments.songs, arguments.work, quick=arguments.quick)
        tables = []
        for seed in arguments.seeds:
            for rate in arguments.rates:
                prepare(arguments.work, songs, rate, seed, 2 if arguments.quick else None)
                for side in [*SIDES, *(["clean"] if rate == 0.0 else [])]:
                    mine = replace(settings, seed=seed, **SIDES.get(side, {}))
                    tables.append(carry_out(Job(arguments.work, rate, side, seed, mine)))
                    print(f"seed {seed}, noise {rate}, {side}: {_mean(tables[-1]):.2f} dB", flush=True)
        table = pl.concat(tables).sort("rate")
    figures = {
        "settings": asdict(replace(settings, seed=0)),
        "songs": table.with_columns(pl.col("sdr").round(4)).to_dicts(),
    }
    publish("doubt", claims(table), figures, quick=arguments.quick)


if __name__ == "__main__":
    main()

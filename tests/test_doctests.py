"""The examples in the docstrings of everything that `restem` exports, run on a small dataset in the current folder."""

from __future__ import annotations

import doctest
import inspect
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy
import polars as pl
import pytest
import torch

import restem
from restem.separation.separator import SeparatorConfig, save_separator

SMALL = {"width": 8, "depth": 1, "bands": 12, "n_fft": 512, "hop": 256}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, band_writer: Callable[..., Path]) -> Path:
    """A folder with `my-stems`, `run`, `truth.csv`, `separator` and `song.wav`."""
    folder = tmp_path_factory.mktemp("doctests")
    stems = band_writer(folder / "my-stems", songs=2, seconds=4.0)
    run = restem.refine(
        stems, folder / "run", folds=1, rounds=1, steps=3, cache=folder / "cache" / "restem", workers=1, device="cpu"
    )
    run.labels.select("song", "stem", "given", true=pl.col("given")).write_csv(folder / "truth.csv")
    torch.manual_seed(0)
    config = SeparatorConfig("band_split", run.taxonomy.classes, rate_hz=16000, segment_s=1.0, parameters=SMALL)
    save_separator(folder / "separator", config, config.build().network.state_dict())
    shutil.copy(stems / "Song 1" / "drums.wav", folder / "song.wav")
    return folder


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = []
    for name in restem.__all__:
        one = getattr(restem, name)
        if inspect.isclass(one) or inspect.isfunction(one):
            found += finder.find(one, name, globs={"restem": restem, "numpy": numpy})
    return [one for one in found if one.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_example(example: doctest.DocTest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=said.append)
    assert result.failed == 0, "".join(said)


def test_every_verb_says_what_it_takes_gives_and_raises() -> None:
    for name in restem.__all__:
        verb = getattr(restem, name)
        if not inspect.isfunction(verb):
            continue
        text = inspect.getdoc(verb) or ""
        sections = [
            line for line, rule in zip(text.splitlines(), text.splitlines()[1:], strict=False) if set(rule) == {"-"}
        ]
        assert {"Parameters", "Raises"} <= set(sections), name
        assert "Returns" in sections or inspect.signature(verb).return_annotation == "None", name
        described = " ".join(text.replace(",", " ").split())
        for argument in inspect.signature(verb).parameters:
            assert f" {argument} " in described or f"**{argument} " in described, f"{name}: {argument}"

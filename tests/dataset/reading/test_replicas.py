"""The replicas of public datasets beside the project, with sound: what each says should be found is found."""

from __future__ import annotations

import csv
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from restem.audio.reader import open_audio
from restem.dataset.layouts import open_dataset
from restem.errors import DatasetError
from restem.instruments import FAMILIES, family_of

FACTS = Path(__file__).parents[4] / "shared/data/layouts"
REFUSED = {"openmic": "not stems"}
# Microphones before the whole band, which the metadata list among the stems.
NOT_STEMS = ("Main System",)
LEAST_CLASSED, LEAST_RIGHT = 0.97, 0.98

pytestmark = [pytest.mark.real, pytest.mark.skipif(not FACTS.is_dir(), reason="needs ../shared/data")]


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All replicas, with a tenth of their sound."""
    out = tmp_path_factory.mktemp("replicas")
    spec: Any = spec_from_file_location("make_replicas", FACTS / "make_replicas.py")
    maker = sys.modules["make_replicas"] = module_from_spec(spec)
    spec.loader.exec_module(maker)
    maker.sound.__defaults__ = (0.3, maker.RATE_HZ)
    assert maker.main([str(out)]) == 0
    return out


def test_all_replicas_are_right_or_refused(replicas: Path) -> None:
    for table in sorted(replicas.glob("*.expected.csv")):
        name = table.name.removesuffix(".expected.csv")
        with table.open(encoding="utf-8", newline="") as file:
            expected = {
                row["path"]: row
                for row in csv.DictReader(file)
                if row["role"] in ("stem", "channel") and row["instrument"] not in NOT_STEMS
            }
        if name in REFUSED:
            with pytest.raises(DatasetError, match=REFUSED[name]):
                open_dataset(replicas / name)
            continue
        dataset = open_dataset(replicas / name)
        found = {stem.name: stem for stem in dataset.stems}
        assert set(found) == set(expected), name
        for path, row in expected.items():
            stem = found[path]
            assert stem.given == dataset.taxonomy.parse(row["labels"]), path
            assert (stem.split, stem.bleed, stem.licence) == (row["split"], row["bleed"], row["licence"]), path
            assert stem.instrument == row["instrument"], path
            assert row["song"] in ("", stem.song), path
        stem = dataset.stems[0]
        with open_audio(dataset.file(stem), stem.stream or 0) as audio:
            assert abs(audio.read()).max() > 0, name


def test_names_of_raw_multitracks() -> None:
    with (FACTS / "raw_names.csv").open(encoding="utf-8", newline="") as file:
        rows = [(family_of(row["file"].rpartition(".")[0]), row["class"]) for row in csv.DictReader(file)]
    classed = [(FAMILIES[family], given) for family, given in rows if family]
    right = [found == given for found, given in classed if given]
    print(f"{len(classed) / len(rows):.1%} of {len(rows)} names have a class; {sum(right) / len(right):.1%} are right")
    assert len(classed) >= LEAST_CLASSED * len(rows)
    assert sum(right) >= LEAST_RIGHT * len(right)

"""The notebooks in examples/ run from their first cell to their last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
# What the cell tagged `parameters` sets, made small; its names must be these.
SMALL = {
    "label-archive.ipynb": {"songs": 2, "seconds": 3.0, "workers": 1, "steps": 2},
    "paper-table.ipynb": {"songs": 2, "test_songs": 1, "seconds": 3.0, "workers": 1, "steps": 2},
    "whole-road.ipynb": {"songs": 2, "seconds": 3.0, "workers": 1, "steps": 3, "separator_steps": 2},
}
MADE = {
    "label-archive.ipynb": ("run/report.html", "dataset/README.md", "verdicts.png"),
    "paper-table.ipynb": ("paper/report.html", "run/report.html", "table.png"),
    "whole-road.ipynb": ("run/report.html", "result/songs.csv"),
}
SLOW = {"paper-table.ipynb": pytest.mark.slow}
LARGEST_PICTURE = 300_000  # bytes


def code_cells(notebook: Path) -> Iterator[tuple[str, bool]]:
    """The code of each cell, and whether it sets the parameters."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, "clear the outputs before committing"
            yield "".join(cell["source"]), "parameters" in cell["metadata"].get("tags", [])


def test_every_notebook_is_tested() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.ipynb")) == sorted(SMALL)


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, ())) for name in SMALL])
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not through Jupyter: the cells hold plain Python, and so need nothing else.
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names: dict[str, object] = {"__name__": "notebook"}
    for number, (code, sets_parameters) in enumerate(code_cells(EXAMPLES / name)):
        exec(compile(code, f"{name}, cell {number}", "exec"), names)  # noqa: S102
        if sets_parameters:
            assert set(SMALL[name]) == {key for key in names if not key.startswith("__")}
            names.update(SMALL[name])
    assert [made for made in MADE[name] if not (tmp_path / made).exists()] == []
    assert all(picture.stat().st_size < LARGEST_PICTURE for picture in tmp_path.glob("*.png"))

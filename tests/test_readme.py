"""What README and docs show must run: the Python examples, every command, and the numbers stated beside the code's."""

from __future__ import annotations

import re
import runpy
import shlex
from functools import partial
from pathlib import Path

import pytest

import restem

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """Every `restem ...` in a fenced block without a language, or in backquotes with a verb and an argument."""
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    found = re.findall(r"^(restem .+?)(?:\s+#.*)?$", blocks, re.MULTILINE)
    return found + re.findall(r"`(restem [a-z]+ [^`]+)`", text)


@pytest.fixture
def my_stems(tmp_path: Path, write_band, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small dataset `my-stems` in the current folder, and refinements that are over in seconds."""
    monkeypatch.chdir(tmp_path)
    quick = partial(restem.refine, steps=10, rounds=1, folds=2, workers=1, device="cpu", cache=tmp_path / "cache")
    monkeypatch.setattr(restem, "refine", quick)
    return write_band(tmp_path / "my-stems", songs=4, seconds=4.0)


def test_the_python_examples_run(my_stems: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # README's example comes first, because the others go on with the run it leaves.
    examples = [example for page in PAGES for example in python_blocks(page)]
    assert len(python_blocks(PAGES[0])) == 1
    for example in examples:
        script = my_stems.parent / "example.py"
        script.write_text(example, encoding="utf-8")
        runpy.run_path(str(script))
    assert "16 stems, first: Song 1/bass.wav {'bass'}" in capsys.readouterr().out
    assert (my_stems.parent / "run" / "report.html").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_one(page: Path) -> None:
    from restem.cli.main import app

    for command in commands(page):
        app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)


def test_every_verb_is_in_the_docs() -> None:
    from restem.cli.main import app

    verbs = [name for name in app if not name.startswith("-")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert verbs
    assert [verb for verb in verbs if f"restem {verb}" not in text] == []


def test_the_method_page_states_the_settings_in_use() -> None:
    from restem.audio import level
    from restem.labelling.settings import RefineSettings

    settings = RefineSettings()
    homes = {
        "RefineSettings": settings, "MixingSettings": settings.mixing, "TrainingSettings": settings.training,
        "DecisionSettings": settings.decision, "level": level,
    }  # fmt: skip
    page = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)\.(\w+)` \| ([-\d.e, ]+) \|$", page, re.MULTILINE)
    assert len(rows) >= 10
    for home, name, value in rows:
        numbers = tuple(map(float, value.split(",")))
        assert getattr(homes[home], name) == (numbers if len(numbers) > 1 else numbers[0]), f"{home}.{name}"
    assert {name for home, name, _ in rows if home == "DecisionSettings"} == set(vars(settings.decision))


def test_constraints_meet_what_the_project_asks_for() -> None:
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.lower().replace("_", "-").split("==") for line in lines if line and not line.startswith("#"))
    for text in project["dependencies"] + [*extras["dev"], *extras["docs"]]:
        requirement = Requirement(text)
        name = requirement.name.lower().replace("_", "-")
        assert name in pinned, f"{name} is not in constraints.txt"
        assert requirement.specifier.contains(pinned[name]), text

"""What a separator, a classifier or a run has on the hub: an exact list of files, none of which can execute anything.

    separator, classifier   config.json, model.safetensors
    run                     run.json, labels.csv, segments.parquet, classifier/; found.csv and decisions.csv where
                            people have decided something

The report of a run is a page with scripts, and `decisions.sqlite` a database; neither is sent nor taken. `run.json` is
sent with the name of the dataset's folder in place of its path.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from restem.errors import DatasetError, RestemError, RunError
from restem.files import read_json, write_json
from restem.labelling.classifier import load_classifier
from restem.runs.ledger import write_decisions
from restem.runs.run import (
    CLASSIFIER_FOLDER,
    DESCRIPTION_FILE,
    FOUND_FILE,
    LABELS_FILE,
    SEGMENTS_FILE,
    import_decisions,
    open_run,
)
from restem.separation.separator import CONFIG_FILE, WEIGHTS_FILE, load_separator
from restem.weights import MOST_WEIGHTS

DECISIONS_FILE = "decisions.csv"

_SMALL, _TABLE = 1 << 24, 1 << 32
_WEIGHTS = 4 * MOST_WEIGHTS + _SMALL  # of 32 bits each, and their names

Content = bytes | Path
"""What a file on the hub holds, or the local file that holds it."""


@dataclass(frozen=True)
class Kind:
    """A kind of folder.

    files: name -> the largest size in bytes that is taken. required: those it cannot lack. read: what is sent of a
    folder. check: raises RestemError when what was taken to a folder cannot be used.
    """

    name: str
    files: Mapping[str, int]
    required: frozenset[str]
    read: Callable[[Path], Mapping[str, Content]]
    check: Callable[[Path], object]


def _network(folder: Path) -> dict[str, Content]:
    return {name: folder / name for name in (CONFIG_FILE, WEIGHTS_FILE)}


def _run(folder: Path) -> dict[str, Content]:
    """The files of a run. With decisions, as tables: labels.csv, what was found before, and the decisions."""
    run = open_run(folder)
    root = str(run.description["dataset"]["root"])
    # As it stands in JSON, also inside of messages about files.
    described = (folder / DESCRIPTION_FILE).read_text(encoding="utf-8").replace(_in_json(root), _in_json(_last(root)))
    files: dict[str, Content] = {
        DESCRIPTION_FILE: described.encode(),
        LABELS_FILE: folder / LABELS_FILE,
        SEGMENTS_FILE: folder / SEGMENTS_FILE,
    }
    if (folder / CLASSIFIER_FOLDER / CONFIG_FILE).exists():
        files |= {f"{CLASSIFIER_FOLDER}/{name}": path for name, path in _network(folder / CLASSIFIER_FOLDER).items()}
    if run.decisions:
        with tempfile.TemporaryDirectory() as aside:
            write_decisions(Path(aside) / DECISIONS_FILE, run.decisions)
            files[DECISIONS_FILE] = (Path(aside) / DECISIONS_FILE).read_bytes()
        files[FOUND_FILE] = folder / FOUND_FILE
    return files


def _in_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _last(root: str) -> str:
    """The last part of a path of any system."""
    name = PurePosixPath(root.replace("\\", "/")).name
    return "dataset" if name in ("", "..") else name


def _check_run(folder: Path) -> None:
    """Makes a run of what was taken; raises RestemError for what cannot be one."""
    try:
        description = read_json(folder / DESCRIPTION_FILE)
        description["dataset"]["root"] = _last(str(description["dataset"]["root"]))
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder / DESCRIPTION_FILE}: is damaged ({error}).") from error
    write_json(folder / DESCRIPTION_FILE, description)
    # Stems that lead out of the dataset are an error of reading the tables.
    open_run(folder).found_segments  # noqa: B018
    if (folder / CLASSIFIER_FOLDER).exists():
        load_classifier(folder / CLASSIFIER_FOLDER)
    if (folder / DECISIONS_FILE).exists():
        try:
            import_decisions(folder, folder / DECISIONS_FILE)
        except DatasetError as error:
            raise RunError(f"{folder / DECISIONS_FILE}: is damaged ({error}).") from error
        (folder / DECISIONS_FILE).unlink()


_NETWORK_FILES = {CONFIG_FILE: _SMALL, WEIGHTS_FILE: _WEIGHTS}

SEPARATOR = Kind("separator", _NETWORK_FILES, frozenset(_NETWORK_FILES), _network, load_separator)
CLASSIFIER = Kind("classifier", _NETWORK_FILES, frozenset(_NETWORK_FILES), _network, load_classifier)
RUN = Kind(
    "run",
    {
        **dict.fromkeys((DESCRIPTION_FILE, LABELS_FILE, SEGMENTS_FILE, FOUND_FILE, DECISIONS_FILE), _TABLE),
        **{f"{CLASSIFIER_FOLDER}/{name}": most for name, most in _NETWORK_FILES.items()},
    },
    frozenset({DESCRIPTION_FILE, LABELS_FILE, SEGMENTS_FILE}),
    _run,
    _check_run,
)  # fmt: skip


def kind_of(folder: Path) -> Kind:
    """What a local folder holds; raises RestemError for anything that restem did not make."""
    if (folder / DESCRIPTION_FILE).is_file():
        return RUN
    if (folder / CONFIG_FILE).is_file() and (folder / WEIGHTS_FILE).is_file():
        return _kind_of_network(folder / CONFIG_FILE)
    raise RestemError(
        f"{folder}: holds no separator, classifier or finished run; name the folder that `restem train` or `restem "
        "refine` left, or `classifier` in a run."
    )


def _kind_of_network(config: Path) -> Kind:
    """By what only one of the two says about itself."""
    try:
        content = read_json(config)
    except (OSError, ValueError) as error:
        raise RestemError(f"{config}: cannot be read ({error}).") from error
    return CLASSIFIER if isinstance(content, dict) and "mel" in content else SEPARATOR


def wanted(names: Iterable[str], repo: str) -> Mapping[str, int]:
    """Of the files of a repository, those that are taken, with their largest sizes; RestemError if some are missing."""
    there = set(names)
    files, required = (RUN.files, RUN.required) if DESCRIPTION_FILE in there else (_NETWORK_FILES, SEPARATOR.required)
    if missing := sorted(required - there):
        raise RestemError(f"{repo}: holds nothing of restem ({', '.join(missing)} is missing).")
    return {name: most for name, most in files.items() if name in there}

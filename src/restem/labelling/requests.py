"""What a run was asked for, written down before it begins, so that it can be resumed and not be mistaken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restem.errors import RunError
from restem.files import write_json
from restem.runs.run import DESCRIPTION_FILE, LABELS_FILE, SEGMENTS_FILE, Run, open_run

WORK_FOLDER = ".work"
_REQUEST_FILE = "request.json"


def begin(out: Path, request: Mapping[str, Any]) -> Run | None:
    """The run in `out` if it is the finished one of `request`; None when there is work to do, new or left over.

    Raises RunError when `out` holds another run, or anything else.
    """
    request_path = out / WORK_FOLDER / _REQUEST_FILE
    asked = json.loads(json.dumps(request))
    if (out / DESCRIPTION_FILE).exists():
        found = _read(out / DESCRIPTION_FILE)
        if not _contains(found, asked) or found.get("decisions") != asked.get("decisions"):
            raise RunError(
                f"{out}: holds a run of another dataset or other settings; choose another --out, or delete it."
            )
        if all((out / name).exists() for name in (LABELS_FILE, SEGMENTS_FILE)):
            return open_run(out)
        # A table was lost since: the run is made again.
        (out / DESCRIPTION_FILE).unlink()
        write_json(request_path, request)
        return None
    if request_path.exists():
        if _read(request_path) != asked:
            raise RunError(
                f"{out}: an unfinished run of another dataset or other settings is here; choose another --out, "
                "or delete it."
            )
        return None
    # A request that was being written when the process was killed is no other run.
    if out.exists() and (not out.is_dir() or any(path.name != WORK_FOLDER for path in out.iterdir())):
        raise RunError(f"{out}: is not empty and holds no run; choose another --out.")
    write_json(request_path, request)
    return None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _contains(found: Any, asked: Any) -> bool:
    """Whether `found` says the same as `asked`, and perhaps more."""
    if isinstance(asked, dict):
        return isinstance(found, Mapping) and all(_contains(found.get(key), value) for key, value in asked.items())
    return bool(found == asked)

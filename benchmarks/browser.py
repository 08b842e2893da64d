"""The review page in a headless Chromium, for the benchmark and the screenshots."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
READY = "html[data-ready]"


@contextmanager
def served(run: Path, cache: Path, person: str = "", audit: Path | None = None) -> Iterator[str]:
    """Serves the review of a run in a process of its own, with an audit if there is one; gives its address."""
    command = [sys.executable, "-m", "restem.cli.main", "review", str(run), "--cache", str(cache), "--no-browser"]
    command += ["--person", person, *(["--audit", str(audit)] if audit is not None else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split(" at ")[1].strip()
    finally:
        process.terminate()
        process.wait()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's; Chromium must be installed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=list(ARGUMENTS))
        yield browser
        browser.close()

"""Takes the pictures of the review page in docs/images: light, dark, and on a phone; of its findings with an audit.

python benchmarks/screenshots.py RUN --cache DIR [--audit AUDIT]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from browser import READY, chromium, served
from common import HERE, parse
from review_page import make_run

IMAGES = HERE.parent / "docs" / "images"
VIEWS = (("light", "light", 1360, 860), ("dark", "dark", 1360, 860), ("narrow", "light", 390, 844))
SETTLE_MS = 1000  # until the spectrogram is drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--audit", type=Path, help="take the page of its findings instead")
    arguments = parse(parser)
    if arguments.quick:
        with tempfile.TemporaryDirectory() as work:
            take(make_run(Path(work), stems=8), Path(work) / "cache", Path(work))
        return
    if arguments.run is None or arguments.cache is None:
        parser.error("RUN and --cache are needed.")
    if arguments.audit is not None:
        take_findings(arguments.run, arguments.audit, arguments.cache, IMAGES)
    else:
        take(arguments.run, arguments.cache, IMAGES)


def take(run: Path, cache: Path, images: Path) -> None:
    """Takes the pictures of a run and leaves them in the folder `images`."""
    with served(run, cache, "ada") as address, chromium() as browser:
        for name, scheme, width, height in VIEWS:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(address)
            page.wait_for_selector(READY)
            page.wait_for_timeout(SETTLE_MS)
            page.screenshot(path=images / f"review-{name}.png")
            page.close()
            print(images / f"review-{name}.png")


def take_findings(run: Path, audit: Path, cache: Path, images: Path) -> None:
    """Takes the pictures of the page of findings, at the first bleed if there is one."""
    with served(run, cache, "ada", audit) as address, chromium() as browser:
        for name, scheme, width, height in VIEWS:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(f"{address}findings")
            page.wait_for_selector(READY)
            page.locator("#rows .row", has_text="bleed").or_(page.locator("#rows .row")).first.click()
            page.wait_for_selector("#sides button")
            page.wait_for_timeout(SETTLE_MS)
            page.screenshot(path=images / f"findings-{name}.png")
            page.close()
            print(images / f"findings-{name}.png")


if __name__ == "__main__":
    main()

"""Takes the pictures of the review page in docs/images: light, dark, and on a phone.

python benchmarks/screenshots.py RUN --cache DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

from browser import READY, chromium, served
from common import HERE

IMAGES = HERE.parent / "docs" / "images"
VIEWS = (("light", "light", 1360, 860), ("dark", "dark", 1360, 860), ("narrow", "light", 390, 844))
SETTLE_MS = 1000  # until the spectrogram is drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    arguments = parser.parse_args()
    with served(arguments.run, arguments.cache, "ada") as address, chromium() as browser:
        for name, scheme, width, height in VIEWS:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(address)
            page.wait_for_selector(READY)
            page.wait_for_timeout(SETTLE_MS)
            page.screenshot(path=IMAGES / f"review-{name}.png")
            page.close()
            print(f"docs/images/review-{name}.png")


if __name__ == "__main__":
    main()

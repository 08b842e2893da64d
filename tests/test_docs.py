"""The documentation without building it: its links lead somewhere, and its reference pages name all there is."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import restem

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")))


def load_hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hooks = load_hooks()


def prose(page: Path) -> str:
    """A page with what the site writes into it, without its code blocks."""
    text = hooks.written_out(page.read_text(encoding="utf-8"))
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts and the site make them, and of its mkdocstrings directives."""
    text = prose(page)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    titles = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    slugs = {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}
    slugs |= {re.sub("-+", "-", slug) for slug in slugs}  # GitHub's way, and that of the site
    return slugs | set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The file and the anchor that each relative link, image or not, of a page leads to."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield (page.parent / path).resolve() if path else page, anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in links(page):
        assert path.exists(), path
        assert not anchor or anchor in anchors(path), f"{path.name}#{anchor}"


def test_links_are_found() -> None:
    found = [(path.name, anchor) for page in PAGES for path, anchor in links(page)]
    assert ("method.md", "2-mixtures-are-sums") in found
    assert ("report.png", "") in found
    assert "restem.refine" in anchors(DOCS / "python-api.md")
    assert "restem-refine" in anchors(DOCS / "command-line.md")


def test_every_page_is_in_the_site() -> None:
    navigation = re.findall(
        r"^ +- [^:\n]+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE
    )
    outside = [place for place in hooks.OUTSIDE.values() if place.endswith(".md")]
    assert sorted(navigation) == sorted([*(page.name for page in DOCS.glob("*.md")), *outside])
    assert all((ROOT / source).exists() for source in hooks.OUTSIDE)


def test_links_out_of_docs_lead_to_pages_of_the_site() -> None:
    here = "[a](docs/index.md), [b](docs/method.md#7-deciding), [c](https://example.org/a.md), [d](#here), [e](LICENSE)"
    assert hooks.links_in_site(here, ROOT) == (
        "[a](index.md), [b](method.md#7-deciding), [c](https://example.org/a.md), [d](#here), [e](LICENSE)"
    )
    below = "![a](../benchmarks/separation.png) [b](formats.md) [c](../CONTRIBUTING.md#commands)"
    assert hooks.links_in_site(below, DOCS) == (
        "![a](images/separation.png) [b](formats.md) [c](contributing.md#commands)"
    )


def test_the_python_reference_has_every_name_once() -> None:
    directives = re.findall(r"^::: restem\.(\w+)$", prose(DOCS / "python-api.md"), re.MULTILINE)
    assert sorted([*directives, "__version__"]) == sorted(restem.__all__)


def test_the_command_line_page_has_every_command() -> None:
    from restem.cli.main import app

    page = prose(DOCS / "command-line.md")
    verbs = [name for name in app if not name.startswith("-")]
    assert re.findall(r"^## restem (\w[\w-]*)$", page, re.MULTILINE) == verbs
    assert "`--out PATH`: The folder of the run" in page

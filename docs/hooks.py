"""What mkdocs.yml cannot say: pages written from the code, files from outside docs/, and formulas as MathML.

The functions called `on_...` are mkdocs' hooks. The others need restem only: the tests use them without mkdocs.
"""

from __future__ import annotations

import inspect
import re
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

# Files outside docs/ that the site shows, and their places in it.
OUTSIDE = {
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/separation.png": "images/separation.png",
}


def on_files(files: Files, *, config: MkDocsConfig, **_: Any) -> Files:
    """Adds the files from outside docs/, and the font of the formulas for systems that have none with a MATH table."""
    from mkdocs.structure.files import File

    package = find_spec("ziamath")
    assert package is not None and package.origin is not None
    font = Path(package.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
    for source, place in {**OUTSIDE, font: "fonts/STIXTwoMath-Regular.ttf"}.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Writes what is to be written from the code, and turns links between files into links between pages."""
    assert page.file.abs_src_path is not None
    return links_in_site(written_out(markdown), Path(page.file.abs_src_path).parent)


def on_page_content(html: str, **_: Any) -> str:
    """Turns the formulas that arithmatex marked into MathML, which browsers show without a script."""
    from latex2mathml.converter import convert

    def inline(match: re.Match[str]) -> str:
        return convert(unescape(match[1]))

    def block(match: re.Match[str]) -> str:
        return f'<div class="formula">{convert(unescape(match[1]), display="block")}</div>'

    html = re.sub(r'<span class="arithmatex">\\\((.*?)\\\)</span>', inline, html, flags=re.DOTALL)
    return re.sub(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', block, html, flags=re.DOTALL)


def on_post_page(output: str, *, page: Page, **_: Any) -> str:
    """Fails where a page would load something from elsewhere."""
    from mkdocs.exceptions import BuildError

    found = re.search(r'<(?:script|img|link|iframe|source)\b[^>]*\b(?:src|href)="?(?:https?:)?//[^>]*>', output)
    if found is not None:
        raise BuildError(f"{page.file.src_uri} would load {found[0]}")
    return output


def links_in_site(markdown: str, folder: Path) -> str:
    """`markdown`, a file in `folder`, with links to files of `OUTSIDE` and of docs/ leading to their pages."""

    def moved(match: re.Match[str]) -> str:
        path = (folder / match[1]).resolve()
        if not path.is_relative_to(ROOT):
            return match[0]
        place = OUTSIDE.get(path.relative_to(ROOT).as_posix())
        if place is None and path.is_relative_to(DOCS):
            place = path.relative_to(DOCS).as_posix()
        return match[0] if place is None else f"]({place}"

    return re.sub(r"\]\(([^)#:\s]+)", moved, markdown)


def written_out(markdown: str) -> str:
    """`markdown` with the comments that ask for a part written from the code replaced by that part."""
    parts = {"<!-- python reference -->": python_reference, "<!-- commands -->": commands}
    for comment, part in parts.items():
        if comment in markdown:
            markdown = markdown.replace(comment, part())
    return markdown


def python_reference() -> str:
    """What `restem.__all__` names, by kind: a table of first sentences, then a mkdocstrings directive for each."""
    import restem

    kinds: dict[str, list[str]] = {"Functions": [], "Tables and results": [], "Settings": [], "Errors": []}
    for name in restem.__all__:
        if name != "__version__":
            kinds[_kind(name, getattr(restem, name))].append(name)
    lines = []
    for kind, names in kinds.items():
        if names:
            lines += [f"## {kind}", "", "| name | summary |", "|---|---|"]
            lines += [f"| [`{name}`][restem.{name}] | {_first_sentence(getattr(restem, name))} |" for name in names]
            lines += ["", *(f"::: restem.{name}\n" for name in names)]
    return "\n".join(lines)


def commands() -> str:
    """What `--help` says about every command, as Markdown, from the command line itself."""
    from restem.cli.main import app

    # cyclopts lists this one without writing a section about it.
    text = re.sub(r"\[([^]]*)\]\(#restem-install-completion\)", r"\1", app.generate_docs("markdown"))
    # What precedes is the name, the usage and the sentence that the page itself has.
    return text[text.index("**Commands**") :]


def _kind(name: str, one: Any) -> str:
    if not inspect.isclass(one):
        return "Functions"
    if issubclass(one, Exception):
        return "Errors"
    return "Settings" if name.endswith("Settings") else "Tables and results"


def _first_sentence(one: Any) -> str:
    paragraph = " ".join(inspect.cleandoc(one.__doc__ or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.;]) (?=[A-Z`])", paragraph)[0].replace("|", r"\|")

"""The dataset card of an export: README.md with the head that Hugging Face reads, counts, licences, and changes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping

import yaml

from restem._version import __version__
from restem.runs.run import Run
from restem.wording import counted, printable

NOT_STATED = "not stated"
_NON_COMMERCIAL = re.compile(r"(?<![a-z])nc(?![a-z])|non.?commercial|academic|research.only", re.IGNORECASE)


def licence_of(run: Run, stem: str, licence: str = "") -> str:
    """The licence that the dataset states about a stem, else `licence`, else the run's, else `NOT_STATED`."""
    stated = run.stated.get(stem, {}).get("licence", "")
    return stated or licence or str(run.description.get("licence", "")) or NOT_STATED


def count_licences(run: Run, stems: Iterable[str], licence: str = "") -> Counter[str]:
    """Licence -> the number of `stems` under it, see `licence_of`."""
    return Counter(licence_of(run, stem, licence) for stem in stems)


def card_text(
    run: Run, splits: Mapping[str, str], left_out: Mapping[str, int], licences: Counter[str], processed: int = 0
) -> str:
    """The card.

    splits: stem name -> split, of the stems that were exported. licences: as `count_licences` has them. processed: the
    number of stems out of which bleed was taken.
    """
    rows = {row["stem"]: row for row in run.labels.iter_rows(named=True) if row["stem"] in splits}
    per_class = Counter(row["refined"] for row in rows.values())
    head = {
        "license": licence_identifier(licences),
        "task_categories": ["audio-to-audio"],
        "tags": ["music", "source-separation", "stems"],
    }
    lines = [
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n",
        f"# {printable(title(run))}\n",
        f"{summary(run, splits, processed)}\n",
        "| class | stems |\n|---|---|",
        *(f"| {name} | {count:,} |" for name, count in sorted(per_class.items())),
        "\n| split | stems |\n|---|---|",
        *(f"| {name} | {count:,} |" for name, count in sorted(Counter(splits.values()).items())),
        "\n| licence | stems |\n|---|---|",
        *(f"| {printable(name)} | {count:,} |" for name, count in licences.most_common()),
    ]
    if warning := licence_warning(licences):
        lines.append(f"\n{warning}")
    if left_out:
        lines += [
            "\n| left out | stems |\n|---|---|",
            *(f"| {printable(why)} | {n:,} |" for why, n in left_out.items()),
        ]
    return "\n".join(lines) + "\n"


def title(run: Run) -> str:
    """What an export of `run` is called."""
    return f"{run.dataset_root.name}, with labels refined by restem {__version__}"


def summary(run: Run, stems: Container[str], processed: int = 0) -> str:
    """What an export of these stems of `run` holds, and what was changed. processed: as in `card_text`."""
    rows = [row for row in run.labels.iter_rows(named=True) if row["stem"] in stems]
    hours = sum(row["seconds"] or 0.0 for row in rows) / 3600
    changed = sum(row["verdict"] == "changed" for row in rows)
    bleed = f", and for bleed that was taken out of {counted(processed, 'stem')}" if processed else ""
    return (
        f"{counted(len(rows), 'stem')}, {hours:.2f} h. The labels of {changed} were changed; the sound was not, but "
        f"for sums of several stems of one class{bleed}."
    )


def licence_identifier(licences: Mapping[str, int]) -> str:
    """The one licence as Hugging Face calls it (`CC BY 4.0` -> `cc-by-4.0`), or `other`, or `unknown`."""
    one = next(iter(licences)) if len(licences) == 1 else ""
    if one == NOT_STATED:
        return "unknown"
    return one.lower().replace(" ", "-") if re.fullmatch(r"cc[ -](by|0).*", one, re.IGNORECASE) else "other"


def licence_warning(licences: Mapping[str, int]) -> str:
    """What to say where stems for non-commercial use are mixed with others; else empty."""
    closed = [name for name in licences if _NON_COMMERCIAL.search(name)]
    if not closed or len(closed) == len(licences):
        return ""
    stems = counted(sum(licences[name] for name in closed), "stem")
    return f"Mixed licences: {stems} may not be used commercially, and what is made from all of this may not either."

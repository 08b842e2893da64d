"""The kinds of options that several commands have, and the settings as options.

Annotations are not postponed: cyclopts reads those of the settings' fields.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from cyclopts import Parameter, Token, convert

from restem.addresses import as_path
from restem.errors import UsageError
from restem.labelling.options import RefineOptions, Start
from restem.renaming import current_name
from restem.separation.options import Model, TrainOptions
from restem.taxonomy import DEFAULT_CLASSES as CLASSES

Converted = TypeVar("Converted")

Layout = Literal[
    "songs", "tracks", "song-folders", "classes", "flat", "table", "msst-csv", "musdb18", "moisesdb", "medleydb",
    "slakh", "audiofolder", "dsd100", "ccmixter", "ikala", "urmp", "guitarset", "stemgmd",
]  # fmt: skip

DatasetPath = Annotated[Path, Parameter(help="The folder of the dataset, or its CSV.")]
RunPath = Annotated[Path, Parameter(help="The folder of the run.")]
MetadataOption = Annotated[
    Path | None,
    Parameter(help="What describes the audio, if it lies elsewhere: a CSV of stems, or MedleyDB's folder of metadata."),
]
Moved = Annotated[
    Path | None, Parameter(name="--dataset", help="Where the run's dataset is now, if it has moved since.")
]
Splits = Annotated[
    str | None,
    Parameter(
        help="Which splits to use, as train,valid; `all`, or `none` for songs without one. By default test and omitted "
        "are not learned from, and test is evaluated on."
    ),
]
LayoutOption = Annotated[Layout | None, Parameter(help="How the dataset lies on disk; by default this is detected.")]
Classes = Annotated[
    str,
    Parameter(name="--classes", help="Comma-separated classes, or a YAML file that maps each class to its aliases."),
]
Only = Annotated[bool, Parameter(negative="", help="Leave stems of other classes out, also of the mixtures.")]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], Parameter(help="Where networks run.")]
Workers = Annotated[int | None, Parameter(help="Worker processes; by default one for each available core.")]
Ray = Annotated[
    str | None,
    Parameter(help="Work on a Ray cluster (extra `cluster`): `local`, this machine alone; `auto`; or HOST:PORT."),
]
Licence = Annotated[
    str, Parameter(help="The licence of the audio, kept with what is made from it.", show_default=False)
]
Cache = Annotated[Path | None, Parameter(help="The folder for features; by default in the user's cache folder.")]
Figures = Annotated[Path | None, Parameter(name="--json", help="Also write the numbers to this file.")]
DryRun = Annotated[
    bool,
    Parameter(
        negative="", help="Say what would be read and written, and how long it would take, and write nothing at all."
    ),
]
Seed = Annotated[int, Parameter(help="Random seed.")]
Overlap = Annotated[float, Parameter(help="Share of a piece that the next one repeats; songs are separated in pieces.")]
Shifts = Annotated[int, Parameter(help="Average over so many random shifts: better, and as many times as slow.")]

DEFAULT_CLASSES = ",".join(CLASSES)


def with_addresses(kind: Any, tokens: Sequence[Token]) -> Any:
    """Converts an option as cyclopts does, but for addresses in object storage, which it would take for paths."""
    found = convert(kind, tokens)
    if isinstance(found, Path):
        return as_path(tokens[0].value)
    if isinstance(found, tuple | list) and all(isinstance(one, Path) for one in found):
        return type(found)(as_path(token.value) for token in tokens)
    return found


def parsed_by(parse: Callable[[str], Converted]) -> Callable[[Any, Sequence[Token]], Converted]:
    """A converter for an option that is one word; repeated, its words are joined by commas."""

    def converter(_: Any, tokens: Sequence[Token]) -> Converted:
        return parse(",".join(token.value for token in tokens))

    return converter


def renamed(argument: str, earlier: Mapping[str, str]) -> Callable[[Any, Sequence[Token]], Any]:
    """A converter that also takes the names that choices had in earlier versions, with a notice."""

    def converter(kind: Any, tokens: Sequence[Token]) -> Any:
        return convert(kind, [tokens[0].evolve(value=current_name(argument, tokens[0].value, earlier))])

    return converter


def parse_time(text: str) -> timedelta:
    """A time such as `90s`, `30m`, `2h`, `1h30m`, or a plain number of seconds; raises UsageError for others.

    Not cyclopts' own: that takes no plain number, and `M` for months.
    """
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip().lower())
    if not text.strip() or match is None:
        raise UsageError(f"{text!r} is not a duration; write it as 90s, 30m, 2h or 1h30m.")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def parse_quantiles(text: str) -> tuple[float, ...]:
    """The quantiles written `0.7,0.5,0.3`; raises UsageError for what are not numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{text!r} are not quantiles; write 0.7, or 0.7,0.5,0.3.") from error


def parse_words(text: str) -> tuple[str, ...]:
    """The words in `vocals,drums`, in lower case."""
    return tuple(word.strip().lower() for word in text.split(",") if word.strip())


def parse_names(text: str | None) -> list[str] | None:
    """The names in `bass,other`; None where there are none."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


@dataclass(frozen=True)
class RefineArguments(RefineOptions):
    """The options of `restem refine`: those of its settings, and what they were called."""

    start: Annotated[
        Start | None, Parameter(converter=renamed("start", {"prior": "pretrained"}))
    ] = RefineOptions.start  # fmt: skip


@dataclass(frozen=True)
class TrainArguments(TrainOptions):
    """The options of `restem train`: those of its settings, how they are written, and what they were called."""

    model: Annotated[Model, Parameter(converter=renamed("model", {"band": "band_split"}))] = TrainOptions.model
    max_time: Annotated[timedelta | None, Parameter(converter=parsed_by(parse_time))] = TrainOptions.max_time
    segment_s: Annotated[float | None, Parameter(alias="--segment")] = TrainOptions.segment_s
    truncate: Annotated[
        tuple[float, ...],
        Parameter(converter=parsed_by(parse_quantiles), negative="", show_default=False),
    ] = TrainOptions.truncate
    target: Annotated[tuple[str, ...], Parameter(converter=parsed_by(parse_words), negative="", show_default=False)] = (
        TrainOptions.target
    )
    weigh: Annotated[bool, Parameter(negative="")] = TrainOptions.weigh
    rate_hz: Annotated[int, Parameter(alias="--rate")] = TrainOptions.rate_hz
    unsure: Annotated[bool, Parameter(negative="")] = TrainOptions.unsure

"""Options are the arguments of the functions: their names, their defaults, and how messages spell them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from importlib import import_module
from typing import Any, get_args, get_type_hints

import pytest

import restem
from restem.cli.defaults import defaults_of
from restem.cli.main import app, run_command
from restem.cli.options import RefineArguments, TrainArguments, parse_names, parse_quantiles, parse_time
from restem.cli.spelling import as_options, command_of, spellings
from restem.dataset.layouts import LAYOUTS
from restem.dataset.noise import KINDS
from restem.demo.demo import run_demo
from restem.errors import UsageError
from restem.labelling.network import SIZES
from restem.labelling.options import RefineOptions, Size
from restem.runs.export import EXPORT_LAYOUTS
from restem.runs.links import LINKS
from restem.runs.training_sets import TRAINING_LAYOUTS
from restem.separation.options import TrainOptions

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "demo": run_demo, "scan": restem.scan, "errata": restem.errata, "corrupt": restem.corrupt, "refine": restem.refine,
    "score": restem.score, "report": restem.report, "review": restem.serve_review, "export": restem.export,
    "train": restem.train, "separate": restem.separate, "evaluate": restem.evaluate,
}  # fmt: skip

# What the command line has beside the function's arguments: how a dataset is opened, and files for what Python returns.
OF_THE_COMMAND_LINE = {
    "layout", "metadata", "splits", "taxonomy", "csv", "draft", "as_json", "against", "paths", "export_decisions",
    "import_decisions", "moved", "apply", "known_errors", "export_labels", "import_labels",
    "label_format", "dry_run",
}  # fmt: skip
SETTINGS = {"refine": restem.RefineSettings, "train": restem.TrainSettings}


def arguments_of(command: str) -> dict[str, Any]:
    """The arguments of the function and the fields of its settings, with their defaults."""
    found = {name: one.default for name, one in inspect.signature(FUNCTIONS[command]).parameters.items()}
    if command in SETTINGS:
        found |= {field.name: field.default for field in fields(SETTINGS[command])}
    return found


@pytest.mark.parametrize("command", FUNCTIONS)
class TestOneListOfNamesAndDefaults:
    def test_every_option_is_an_argument(self, command: str) -> None:
        assert set(spellings(app[command])) - OF_THE_COMMAND_LINE <= set(arguments_of(command))

    def test_every_argument_is_an_option(self, command: str) -> None:
        not_options = {"progress", "say", "settings", "changes"}
        if command in SETTINGS:
            options = {field.name for field in fields(RefineOptions if command == "refine" else TrainOptions)}
            not_options |= {field.name for field in fields(SETTINGS[command])} - options
            not_options -= {"parameters"}
        if command == "demo":
            not_options |= {"steps", "song_seconds", "held_out_songs"}  # smaller ones are for tests
        if command == "evaluate":
            not_options |= {"model", "dataset"}  # they are the paths
        assert set(arguments_of(command)) - not_options <= set(spellings(app[command]))

    def test_the_defaults_are_the_same(self, command: str) -> None:
        expected = arguments_of(command)
        for argument in app[command].assemble_argument_collection():
            name, default = argument.field_info.name, argument.field_info.default
            if name in expected and argument.name.startswith("--") and argument.name != "--parameters":
                wanted = expected[name]
                # On the command line, "all" and "none" are said by leaving the option out.
                assert default == wanted or (default is None and wanted in ("auto", ())), f"{name}: {default} {wanted}"

    def test_choices_are_those_of_the_function(self, command: str) -> None:
        choices = {
            ("corrupt", "kind"): KINDS, ("refine", "size"): tuple(SIZES),
            ("export", "layout"): (*EXPORT_LAYOUTS, *TRAINING_LAYOUTS), ("export", "link"): LINKS,
            ("scan", "layout"): tuple(LAYOUTS), ("train", "layout"): tuple(LAYOUTS),
        }  # fmt: skip
        for argument in app[command].assemble_argument_collection():
            if wanted := choices.get((command, argument.field_info.name)):
                found = argument.hint if get_args(argument.hint)[-1] is not type(None) else get_args(argument.hint)[0]
                assert set(get_args(found)) == set(wanted), argument.name


def test_formats_are_those_of_the_function() -> None:
    hints = get_type_hints(import_module("restem.separation.songs")._Request)
    for name in ("format", "depth"):
        argument = next(one for one in app["separate"].assemble_argument_collection() if one.field_info.name == name)
        assert get_args(argument.hint) == get_args(hints[name])
    assert set(get_args(Size)) == set(SIZES)


def test_arguments_say_no_other_defaults_than_the_settings() -> None:
    assert vars(RefineArguments()) == vars(RefineOptions())
    assert vars(TrainArguments()) == vars(TrainOptions())


@pytest.mark.parametrize("command", SETTINGS)
def test_the_line_under_a_field_is_the_help(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run_command([command, "--help"]) == 0
    output = capsys.readouterr().out
    for argument in app[command].assemble_argument_collection():
        if argument.name.startswith("--"):
            assert re.search(rf"{argument.name}( --?[a-z-]+)*( [A-Z.=]+)? {{2,}}[A-Z][^│]{{8,}}", output), argument.name
    assert "Optimiser steps" in output and "Random seed." in output


@pytest.mark.parametrize(
    ("module", "function"),
    [
        ("restem.dataset.corrupt", "corrupt"),
        ("restem.separation.songs", "separate"),
        ("restem.separator_api", "export"),
    ],
)
def test_defaults_are_read_without_importing(module: str, function: str) -> None:
    signature = inspect.signature(getattr(import_module(module), function))
    found = {name: one.default for name, one in signature.parameters.items() if one.default is not one.empty}
    read = defaults_of(module, function)
    assert set(found) - set(read) <= {"stems"}
    assert all(found[name] == value and type(found[name]) is type(value) for name, value in read.items())


class TestSpelling:
    @pytest.mark.parametrize(
        ("command", "message", "spelled"),
        [
            ("refine", "choose another `out`, or delete it.", "choose another --out, or delete it."),
            ("corrupt", "choose another `out`, or delete it.", "choose another OUT, or delete it."),
            ("refine", "use `start='scratch'`.", "use --start scratch."),
            ("scan", "use `workers=1`.", "use --workers 1."),
            ("export", "use `link='symlink'` or `copy`.", "use --link symlink or `copy`."),
            ("train", "with a lower `learning_rate`.", "with a lower --learning-rate."),
            ("train", "`segment_s` must be above 0", "--segment-s must be above 0"),
            ("separate", "leave out `residual=True`.", "leave out --residual."),
            ("scan", "add it to `taxonomy`", "add it to --classes"),
            ("refine", "`epoch_steps` is none of them, nor is `bass+drums`", None),
            ("refine", "run `restem refine DATASET --out run`", None),
        ],
    )
    def test_arguments_are_spelled_as_options(self, command: str, message: str, spelled: str | None) -> None:
        assert as_options(message, command_of(app, [command, "x"])) == (spelled or message)

    @pytest.mark.parametrize("tokens", [[], ["--help"], ["nonsense"], ["--version"]])
    def test_without_a_command_nothing_is_spelled(self, tokens: list[str]) -> None:
        assert as_options("`out`", command_of(app, tokens)) == "`out`"


def test_times() -> None:
    assert [parse_time(text).total_seconds() for text in ("90", "90s", "30m", "2h", "1h30m", "0.5h")] == [
        90.0, 90.0, 1800.0, 7200.0, 5400.0, 1800.0,
    ]  # fmt: skip
    assert parse_time("1h30m") == timedelta(hours=1, minutes=30)
    for text in ("", "soon", "3d", "h", "-5"):
        with pytest.raises(UsageError):
            parse_time(text)


def test_quantiles_and_names() -> None:
    assert parse_quantiles("0.7,0.5,0.3") == (0.7, 0.5, 0.3)
    with pytest.raises(UsageError):
        parse_quantiles("0.7;0.5")
    assert parse_names(None) is None
    assert parse_names("bass, other") == ["bass", "other"]

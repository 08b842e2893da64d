"""The card of what is sent to the hub: what it is, what it was made from, under which licence, and how good it is.

Only what is known is said. Names of songs and of folders are not: they may be nobody else's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from restem._version import __version__
from restem.errors import RestemError
from restem.evaluation.separation import SUMMARY_FILE
from restem.files import read_json
from restem.labelling.classifier import load_classifier
from restem.runs.card import NOT_STATED, count_licences, licence_identifier, licence_warning
from restem.runs.run import open_run
from restem.separation.separator import load_separator
from restem.separation.training_figures import TRAINING_FILE, figures_text, training_figures
from restem.verdicts import count_verdicts
from restem.wording import counted, printable

_USE = {
    "separator": "restem pull {repo} separator\nrestem separate separator song.mp3 --out separated",
    "classifier": "restem pull {repo} classifier\npython -c \"import restem; restem.load_classifier('classifier')\"",
    "run": "restem pull {repo} run\nrestem train run --dataset MY-COPY-OF-THE-DATASET --out separator",
}


def card_of(kind: str, folder: Path, repo: str, licence: str = "", evaluation: Path | None = None) -> str:
    """The card of a folder. licence: of the audio; by default what the folder says. evaluation: `restem evaluate`'s."""
    write = {"separator": _of_separator, "classifier": _of_classifier, "run": _of_run}[kind]
    licences, lines = write(folder, licence)
    head = {
        "license": licence_identifier(licences),
        "tags": ["music", "source-separation", "restem", *(["audio-classification"] if kind == "classifier" else [])],
    }
    if kind == "separator":
        head["pipeline_tag"] = "audio-to-audio"
    if evaluation is not None:
        lines += _figures(evaluation)
    named = ", ".join(printable(name) for name in licences)
    lines += ["", f"Licence of the audio: {named}."]
    if warning := licence_warning(licences):
        lines.append(warning)
    use = _USE[kind].format(repo=repo)
    return "\n".join(
        [
            f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n",
            f"# {repo.rpartition('/')[2]}\n",
            *lines,
            f"\n```sh\npip install 'restem[hub]'\n{use}\n```",
            f"\nMade with restem {__version__}.",
        ]
    ) + "\n"  # fmt: skip


Described = tuple[Mapping[str, int], list[str]]
"""Licence -> number of stems (or 1), and lines of a card."""


def _of_separator(folder: Path, licence: str) -> Described:
    config = load_separator(folder).config
    lines = [
        f"A separator of music into {', '.join(config.classes)}: {config.model}, {config.rate_hz:,} Hz, "
        f"{counted(config.channels, 'channel')}.",
        "",
        f"Trained on audio with the fingerprint `{config.dataset or 'unknown'}`.",
    ]
    if (folder / TRAINING_FILE).exists():
        record = read_json(folder / TRAINING_FILE)
        figures = training_figures(folder)
        # Only the origin of a dataset has a hash of its content.
        labels = "given" if "content" in record["dataset"] else "refined"
        stems = figures.get("stems", {}).get("learned")
        lines.append(
            f"Labels: {labels}. " + (f"Stems: {stems:,}. " if stems else "") + f"Seed: {record['settings']['seed']}."
        )
        if seconds := figures.get("seconds_of_class"):
            lines += ["", "| class | minutes of audio |", "|---|---|"]
            lines += [f"| {name} | {value / 60:,.1f} |" for name, value in seconds.items()]
        if text := figures_text(figures):
            lines += ["", f"After {counted(figures['steps'], 'step')}: {text}."]
    return {licence or config.licence or NOT_STATED: 1}, lines


def _of_classifier(folder: Path, licence: str) -> Described:
    classifier = load_classifier(folder)
    config = classifier.config
    return {licence or config.licence or NOT_STATED: 1}, [
        f"A classifier: which of {', '.join(config.classes)} are in a segment of {config.segment_s:g} s of music.",
        "",
        f"Trained on audio with the fingerprint `{config.dataset or 'unknown'}`.",
        f"Weights: {sum(one.numel() for one in classifier.parameters()):,}.",
    ]


def _of_run(folder: Path, licence: str) -> Described:
    run = open_run(folder)
    described = run.description
    verdicts = {verdict: count for verdict, count in count_verdicts(run.labels["verdict"]).items() if count}
    lines = [
        f"What is in the {counted(len(run.labels), 'stem')} of a multitrack dataset: refined labels, scores over time, "
        "and the classifier that found them. No audio.",
        "",
        f"Fingerprint of the dataset: `{described['dataset'].get('fingerprint', 'unknown')}`. Classes: "
        f"{', '.join(run.taxonomy.classes)}. Decisions by people: {len(run.decisions):,}.",
        "",
        "| verdict | stems |",
        "|---|---|",
        *(f"| {verdict} | {count:,} |" for verdict, count in verdicts.items()),
    ]
    sure = described.get("sure_right")
    if isinstance(sure, int | float):
        lines += [
            "",
            f"Of the stems kept or changed, {100 * sure:.0f} % are expected to have exactly the right labels.",
        ]
    return count_licences(run, run.labels["stem"], licence), lines


def _figures(evaluation: Path) -> Sequence[str]:
    """The SDR of an evaluation, a row per class; raises RestemError where there is none."""
    try:
        summary: Mapping[str, Any] = read_json(evaluation / SUMMARY_FILE)["summary"]
        rows = [
            f"| {printable(name)} | {one['songs']} | {_decibels(one['sdr'])} | {_decibels(one['mixture_sdr'])} |"
            for name, one in summary.items()
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RestemError(f"{evaluation}: holds no result of `restem evaluate --out` ({error}).") from error
    return ["", "| class | songs | SDR, dB | of the mixture, dB |", "|---|---|---|---|", *rows]


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"

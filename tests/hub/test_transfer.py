"""What is sent to the hub, and what of it is taken back: only what restem knows, checked."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import torch
import yaml

from restem.audio.mel import MelSettings
from restem.cli.main import run_command
from restem.errors import RestemError, UsageError
from restem.files import write_json
from restem.hub.transfer import pull, push
from restem.labelling.classifier import ClassifierConfig, load_classifier, save_classifier
from restem.labelling.network import ClassifierSettings
from restem.runs.ledger import Decision
from restem.runs.run import Run, labels_schema, open_run, record, write_run
from restem.runs.tables import segments_schema
from restem.separation.separator import SeparatorConfig, load_separator, save_separator
from restem.taxonomy import Taxonomy

if TYPE_CHECKING:
    from conftest import Hub

CLASSES = ("vocals", "drums", "bass", "other")


@pytest.fixture
def separator(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    parameters = {"width": 8, "depth": 1, "bands": 12, "n_fft": 512, "hop": 256}
    config = SeparatorConfig(
        "band_split", CLASSES, rate_hz=8000, parameters=parameters, dataset="f" * 64, licence="CC BY 4.0"
    )
    save_separator(tmp_path / "separator", config, config.build().network.state_dict())
    return tmp_path / "separator"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    taxonomy = Taxonomy()
    scores = [0.0, 0.9, 1.0, 0.0]
    rows = [("one", "one/bass.wav", "bass", "drums+bass", "changed", 0.05, *scores, 9.0, 9.0)]
    segments = [("one", "one/bass.wav", float(t), t + 3.0, -20.0, *scores) for t in (0, 3, 6)]
    root = tmp_path / "private place" / "my songs"
    described = {
        "dataset": {"root": str(root), "classes": list(taxonomy.classes), "aliases": {}, "fingerprint": "a" * 64},
        "licence": "CC BY 4.0", "sure_right": 0.93, "failures": {"one/x.wav": f"{root}/one/x.wav: cannot be decoded."},
    }  # fmt: skip
    run = write_run(
        tmp_path / "run",
        taxonomy,
        pl.DataFrame(rows, schema=labels_schema(taxonomy), orient="row"),
        pl.DataFrame(segments, schema=segments_schema(taxonomy), orient="row"),
        described,
    )
    (run.path / "report.html").write_text("<script>")
    save_classifier(
        run.path / "classifier",
        ClassifierConfig(
            CLASSES, MelSettings(bands=16, high_hz=3800.0),
            ClassifierSettings(depths=(1, 1), widths=(8, 16), patch=(4, 4)), segment_s=1.0, licence="CC BY 4.0",
        ).build(),
    )  # fmt: skip
    return run


def card_of(hub: Hub, key: str) -> tuple[dict[str, Any], str]:
    text = hub.repositories[key].files["README.md"].decode()
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_a_separator_goes_there_and_comes_back(hub: Hub, separator: Path, tmp_path: Path) -> None:
    write_json(
        separator / "training.json",
        {
            "settings": {"seed": 3}, "dataset": {"root": "/secret/place", "content": "c" * 64}, "steps": 400,
            "stems": {"learned": 12}, "seconds_of_class": {"drums": 120.0}, "mean_loss": 0.01, "validation_sdr": 4.0,
            "mixture_sdr": -5.0,
        },
    )  # fmt: skip
    result = {
        "vocals": {"songs": 3, "sdr": 2.345, "mixture_sdr": -5.0},
        "drums": {"songs": 0, "sdr": None, "mixture_sdr": None},
    }
    write_json(tmp_path / "result" / "summary.json", {"summary": result})
    sent = push(separator, "me/small", evaluation=tmp_path / "result", endpoint=hub.address)
    there = hub.repositories["models/me/small"]
    assert sorted(there.files) == ["README.md", "config.json", "model.safetensors"]
    assert there.private and sent.commit == there.commit and sent.address == f"{hub.address}/me/small"
    head, body = card_of(hub, "models/me/small")
    assert head["license"] == "cc-by-4.0" and head["pipeline_tag"] == "audio-to-audio"
    assert "| vocals | 3 | 2.35 | -5.00 |" in body or "| vocals | 3 | 2.34 | -5.00 |" in body
    assert "| drums | 0 |  |  |" in body and "| drums | 2.0 |" in body
    assert "Labels: given. Stems: 12. Seed: 3." in body and "SDR 4.00 dB (+9.00 dB over the mixture's)" in body
    assert "f" * 64 in body and "secret" not in body

    taken = pull("me/small", tmp_path / "taken", endpoint=hub.address)
    assert taken.kind == "separator" and taken.ignored == () and taken.commit == there.commit
    assert sorted(path.name for path in taken.path.iterdir()) == ["config.json", "model.safetensors"]
    assert load_separator(taken.path).fingerprint() == load_separator(separator).fingerprint()


def test_a_classifier(hub: Hub, run: Run, tmp_path: Path) -> None:
    push(run.path / "classifier", "me/ear", public=True, endpoint=hub.address)
    assert not hub.repositories["models/me/ear"].private
    head, body = card_of(hub, "models/me/ear")
    assert head["license"] == "cc-by-4.0" and "vocals, drums, bass, other" in body
    assert pull("me/ear", tmp_path / "taken", endpoint=hub.address).kind == "classifier"
    before, after = (
        load_classifier(run.path / "classifier").state_dict(),
        load_classifier(tmp_path / "taken").state_dict(),
    )
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_run_without_what_is_private(hub: Hub, run: Run, tmp_path: Path) -> None:
    record(run, [Decision("one", "one/bass.wav", "drums+bass", "drums", "ada")])
    sent = push(run.path, "me/refined", endpoint=hub.address)
    assert sent.repo == "datasets/me/refined" and sent.address == f"{hub.address}/datasets/me/refined"
    files = hub.repositories["datasets/me/refined"].files
    assert sorted(files) == [
        "README.md", "classifier/config.json", "classifier/model.safetensors", "decisions.csv", "found.csv",
        "labels.csv", "run.json", "segments.parquet",
    ]  # fmt: skip
    assert not any(b"private place" in content for content in files.values())
    assert json.loads(files["run.json"])["failures"] == {"one/x.wav": "my songs/one/x.wav: cannot be decoded."}
    head, body = card_of(hub, "datasets/me/refined")
    assert head["license"] == "cc-by-4.0" and "93 %" in body and "| changed | 1 |" in body
    assert "Decisions by people: 1." in body

    taken = pull("datasets/me/refined", tmp_path / "taken", endpoint=hub.address)
    before, after = open_run(run.path), open_run(taken.path)
    assert after.labels.equals(before.labels) and after.found.equals(before.found)
    assert after.segments.equals(before.segments) and after.decisions == before.decisions
    assert str(after.dataset_root) == "my songs"
    assert not (taken.path / "report.html").exists()


def test_only_files_of_restem_are_asked_for(hub: Hub, separator: Path, tmp_path: Path) -> None:
    push(separator, "me/small", endpoint=hub.address)
    files = hub.repositories["models/me/small"].files
    files |= {"modeling.py": b"raise SystemExit", "../outside.txt": b"x", "pytorch_model.bin": b"\x80", "logs/a": b"x"}
    hub.asked.clear()
    taken = pull("me/small", tmp_path / "taken", endpoint=hub.address)
    assert taken.ignored == ("../outside.txt", "logs/a", "modeling.py", "pytorch_model.bin")
    asked = {path.rpartition("/")[2] for path in hub.asked if "/resolve/" in path}
    assert asked == {"config.json", "model.safetensors"}
    assert sorted(path.name for path in taken.path.iterdir()) == ["config.json", "model.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir() if "cache" not in path.name) == ["separator", "taken"]


def test_damage_is_not_taken(hub: Hub, separator: Path, run: Run, tmp_path: Path) -> None:
    push(separator, "me/small", endpoint=hub.address)
    push(run.path, "me/refined", endpoint=hub.address)
    small, refined = hub.repositories["models/me/small"].files, hub.repositories["datasets/me/refined"].files
    config, labels = json.loads(small["config.json"]), refined["labels.csv"].decode()
    outside, absolute = labels.replace("one/bass", "../../bass"), labels.replace("one/bass", "/etc/bass")
    for repo, files, name, content, message in (
        ("me/small", small, "config.json", b"[]", "damaged|missing"),
        ("me/small", small, "config.json", json.dumps({**config, "classes": ["../../x", "b"]}).encode(), "damaged"),
        ("me/small", small, "config.json", json.dumps({**config, "model": "os:system"}).encode(), "damaged"),
        ("me/small", small, "model.safetensors", b"\x80\x04K\x01.", "damaged"),
        ("me/small", small, "config.json", b" " * (1 << 24) + b"{}  ", "config.json is too large"),
        ("datasets/me/refined", refined, "labels.csv", outside.encode(), "'../../bass.wav' leads outside"),
        ("datasets/me/refined", refined, "labels.csv", absolute.encode(), "'/etc/bass.wav' leads outside"),
        ("datasets/me/refined", refined, "segments.parquet", b"PAR1", "segments.parquet"),
        ("datasets/me/refined", refined, "classifier/model.safetensors", b"\x80\x04K\x01.", "damaged"),
        ("datasets/me/refined", refined, "run.json", b'{"dataset": []}', "run.json"),
    ):  # fmt: skip
        right = files[name]
        files[name] = content
        with pytest.raises(RestemError, match=message):
            pull(repo, tmp_path / "taken", endpoint=hub.address)
        files[name] = right
        assert not (tmp_path / "taken").exists()
    pull("datasets/me/refined", tmp_path / "taken", endpoint=hub.address)


def test_a_root_that_leads_somewhere_is_not_followed(hub: Hub, run: Run, tmp_path: Path) -> None:
    push(run.path, "me/refined", endpoint=hub.address)
    files = hub.repositories["datasets/me/refined"].files
    described = json.loads(files["run.json"])
    for root, expected in (("/home/somebody", "somebody"), ("C:\\Users\\a", "a"), ("..", "dataset"), ("/", "dataset")):
        described["dataset"]["root"] = root
        files["run.json"] = json.dumps(described).encode()
        pull("datasets/me/refined", tmp_path / expected / "taken", endpoint=hub.address)
        assert str(open_run(tmp_path / expected / "taken").dataset_root) == expected
        (tmp_path / expected).rename(tmp_path / f"done-{len(list(tmp_path.iterdir()))}")


def test_nothing_becomes_public_by_mistake(hub: Hub, separator: Path) -> None:
    push(separator, "me/open", public=True, endpoint=hub.address)
    before = hub.repositories["models/me/open"].commit
    with pytest.raises(UsageError, match="is public; send to it with `public=True`"):
        push(separator, "me/open", licence="other", endpoint=hub.address)
    assert hub.repositories["models/me/open"].commit == before


def test_errors_say_what_to_do(hub: Hub, separator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RestemError, match="there is no repository me/none that you can see; `hf auth login`"):
        pull("me/none", tmp_path / "taken", endpoint=hub.address)
    with pytest.raises(RestemError, match=r"refuses you/small: .*`hf auth login`"):
        push(separator, "you/small", endpoint=hub.address)
    with pytest.raises(UsageError, match="'a/b/c' is no name of a repository"):
        push(separator, "a/b/c", endpoint=hub.address)
    with pytest.raises(RestemError, match="holds no separator, classifier or finished run"):
        push(tmp_path, "me/small", endpoint=hub.address)
    with pytest.raises(RestemError, match=re.escape(f"{tmp_path}: holds no result of `restem evaluate --out`")):
        push(separator, "me/small", evaluation=tmp_path, endpoint=hub.address)
    with pytest.raises(RestemError, match="is there already"):
        pull("me/small", separator, endpoint=hub.address)
    with pytest.raises(RestemError, match=r"http://127\.0\.0\.1:9: does not answer"):
        pull("me/small", tmp_path / "taken", endpoint="http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(RestemError, match=r"restem\[hub\]"):
        pull("me/small", tmp_path / "taken", endpoint=hub.address)


def test_the_commands(hub: Hub, separator: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run_command(["push", str(separator), "me/small", "--endpoint", hub.address]) == 0
    printed = capsys.readouterr().out
    assert f"The separator is at {hub.address}/me/small, private: README.md, config.json" in printed
    hub.repositories["models/me/small"].files["run.py"] = b""
    assert run_command(["pull", "me/small", str(tmp_path / "taken"), "--endpoint", hub.address]) == 0
    printed = capsys.readouterr()
    assert f"The separator is in {tmp_path / 'taken'} (commit " in printed.out
    assert "1 other file there were not taken, among them run.py" in printed.err

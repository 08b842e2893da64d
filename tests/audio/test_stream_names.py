from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from restem.audio.stream_names import stream_names
from restem.dataset.layouts import open_dataset

RATE_HZ = 44100


def write_streams(path: Path, count: int = 5, titles: Sequence[str] = ()) -> Path:
    """An MP4 with `count` AAC streams of 0.1 s of noise, with titles if there are any."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", format="mp4") as container:
        streams = [container.add_stream("aac", rate=RATE_HZ, layout="mono") for _ in range(count)]
        for stream, title in zip(streams, titles, strict=False):
            stream.metadata["title"] = stream.metadata["handler_name"] = title
        for stream in streams:
            for start in range(0, 4096, 1024):
                block = (0.1 * rng.standard_normal((1, 1024))).astype(np.float32)
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = RATE_HZ, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def add_stem_box(path: Path, content: bytes) -> Path:
    """Puts `stem` into `moov/udta`, which are the last boxes of the file (ISO 14496-12, 4.2)."""
    data = bytearray(path.read_bytes())
    box = struct.pack(">I4s", 8 + len(content), b"stem") + content
    moov = data.rindex(b"moov") - 4
    udta = data.rindex(b"udta") - 4
    for place in (moov, udta):
        (size,) = struct.unpack_from(">I", data, place)
        assert place + size == len(data)
        struct.pack_into(">I", data, place, size + len(box))
    path.write_bytes(data + box)
    return path


def stems_json(*names: str) -> bytes:
    return json.dumps({"version": 1, "stems": [{"name": name, "color": "#009E73"} for name in names]}).encode()


def labels(folder: Path) -> dict[int | None, str]:
    dataset = open_dataset(folder)
    return {stem.stream: dataset.given_text(stem) for stem in dataset.stems}


def test_names_of_the_stem_box_say_the_classes(tmp_path: Path) -> None:
    path = add_stem_box(write_streams(tmp_path / "a.stem.m4a"), stems_json("Vox", "Kick & Snare", "Bass", "Melody"))
    assert stream_names(path) == ["", "Vox", "Kick & Snare", "Bass", "Melody"]
    assert labels(tmp_path) == {1: "vocals", 2: "drums", 3: "bass", 4: "other"}


def test_titles_say_the_classes(tmp_path: Path) -> None:
    write_streams(tmp_path / "a.stem.mp4", 4, ["mixture", "bass", "vocals", "Synth Pad"])
    assert labels(tmp_path) == {1: "bass", 2: "vocals", 3: "other"}


def test_streams_without_names_are_in_the_order_of_musdb18(tmp_path: Path) -> None:
    path = write_streams(tmp_path / "a.stem.mp4")
    assert stream_names(path) == [""] * 5
    assert labels(tmp_path) == {1: "drums", 2: "bass", 3: "other", 4: "vocals"}
    add_stem_box(path, stems_json("", "", "Stem_3", ""))
    write_streams(tmp_path / "b.stem.mp4", 3)
    dataset = open_dataset(tmp_path)
    assert {stem.path for stem in dataset.stems} == {"a.stem.mp4"}
    assert "has 3 audio streams without names" in {item.path: item.reason for item in dataset.skipped}["b.stem.mp4"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"stems": 3}', b'{"stems": [3]}', b"[" * 100_000, b"\xff"])
def test_damaged_boxes_name_nothing(tmp_path: Path, content: bytes) -> None:
    assert stream_names(add_stem_box(write_streams(tmp_path / "a.stem.mp4"), content)) == [""] * 5


def test_what_is_no_mp4_has_no_names(tmp_path: Path) -> None:
    (tmp_path / "a.stem.mp4").write_bytes(b"not an MP4")
    assert stream_names(tmp_path / "a.stem.mp4") is None
    assert stream_names(tmp_path / "none.stem.mp4") is None

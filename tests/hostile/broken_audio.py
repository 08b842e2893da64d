"""Audio files that are broken, or look it, each with what is to become of it.

Every kind is a file name and its bytes, made of two seconds of generated sound. `outcome` is what a command may do:

    whole     all of the sound is used
    noted     it is used, with a note that says what is wrong
    failed    it is refused, with a reason
    told      whatever becomes of it, nothing is lost without a word: used whole, with a note, or refused
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
import soundfile

RATE_HZ = 16000
SECONDS = 2.0

Outcome = Literal["whole", "noted", "failed", "told"]


@dataclass(frozen=True)
class Broken:
    """A file. name: of the kind, which is no file name. seconds: how long it is when it is whole."""

    name: str
    extension: str
    content: bytes
    outcome: Outcome
    seconds: float = SECONDS


def sound(channels: int = 1, seconds: float = SECONDS) -> np.ndarray:
    """(sample, channel): tones that change all the time, and a little noise."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = 0.02 * np.random.default_rng(0).standard_normal((len(time_s), channels))
    return noise + 0.2 * np.sin(2 * np.pi * (300 + 200 * time_s) * time_s)[:, None]


class Encoder:
    """Encodes sound to bytes, by way of a file in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def soundfile(
        self, samples: np.ndarray, container: str, subtype: str | None = None, rate_hz: int = RATE_HZ
    ) -> bytes:
        path = self.folder / "encoded"
        soundfile.write(path, samples, rate_hz, format=container, subtype=subtype)
        return path.read_bytes()

    def m4a(self, samples: np.ndarray, layout: str = "mono", **options: str) -> bytes:
        path = self.folder / "encoded.m4a"
        samples = np.ascontiguousarray(samples, np.float32)
        with av.open(str(path), "w", format="mp4", options=options) as container:
            output = container.add_stream("aac", rate=RATE_HZ, layout=layout, options={"aac_pns": "0"})
            for start in range(0, len(samples), 1024):
                # Interleaved, since PyAV (18) takes a frame of eight separate channels for one of nine.
                block = samples[start : start + 1024].reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(block, format="flt", layout=layout)
                frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, start, Fraction(1, RATE_HZ)
                container.mux(output.encode(frame))
            container.mux(output.encode(None))
        return path.read_bytes()


def whole_files(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Whole files in every format that restem reads: name -> (extension, content)."""
    encode, samples = Encoder(folder), sound()
    return {
        "wav": ("wav", encode.soundfile(samples, "WAV", "PCM_16")),
        "wav24": ("wav", encode.soundfile(samples, "WAV", "PCM_24")),
        "wav float": ("wav", encode.soundfile(samples, "WAV", "FLOAT")),
        "wavex": ("wav", encode.soundfile(samples, "WAVEX", "PCM_16")),
        "aiff": ("aiff", encode.soundfile(samples, "AIFF", "PCM_16")),
        "flac": ("flac", encode.soundfile(samples, "FLAC", "PCM_16")),
        "vorbis": ("ogg", encode.soundfile(samples, "OGG", "VORBIS")),
        "opus": ("opus", encode.soundfile(samples, "OGG", "OPUS")),
        "mp3": ("mp3", encode.soundfile(samples, "MP3", "MPEG_LAYER_III")),
        "m4a": ("m4a", encode.m4a(samples)),
        "m4a faststart": ("m4a", encode.m4a(samples, movflags="faststart")),
    }


def kinds(folder: Path) -> Iterator[Broken]:
    """All kinds but the flips of single bytes. folder: to encode in."""
    files = whole_files(folder)
    yield from _cut(files)
    yield from _damaged(files)
    yield from _joined(files)
    yield from _headers(files)
    yield from _mp3(files["mp3"][1])
    yield from _samples(Encoder(folder))
    yield from _not_audio(files)


def flips(folder: Path, head: int = 900, step: int = 7) -> Iterator[Broken]:
    """Every `step`-th byte of the first `head` of each whole file, inverted: what becomes of it is told."""
    for name, (extension, content) in whole_files(folder).items():
        for place in range(0, min(head, len(content)), step):
            damaged = bytearray(content)
            damaged[place] ^= 0xFF
            yield Broken(f"{name}, byte {place} inverted", extension, bytes(damaged), "told")


def _cut(files: dict[str, tuple[str, bytes]]) -> Iterator[Broken]:
    for name, (extension, content) in files.items():
        for share in (0.02, 0.3, 0.6):
            yield Broken(f"{name}, {share:.0%} of it", extension, content[: int(share * len(content))], "failed")
        needs_end = name in ("vorbis", "opus", "m4a")
        for share in (0.9, 0.99):
            outcome: Outcome = "failed" if needs_end else "told" if name == "mp3" else "noted"
            yield Broken(f"{name}, {share:.0%} of it", extension, content[: int(share * len(content))], outcome)
        for size in (0, 1, 4, 12):
            yield Broken(f"{name}, {size} bytes of it", extension, content[:size], "failed")


def _damaged(files: dict[str, tuple[str, bytes]]) -> Iterator[Broken]:
    rng = np.random.default_rng(0)
    for name, (extension, content) in files.items():
        start, size = len(content) // 2, len(content) // 5
        # In formats without checksums, the damage is sound of its own.
        outcome: Outcome = "whole" if extension in ("wav", "aiff") else "told"
        if name != "wav float":  # whose random bytes are NaN here and there
            noise = rng.bytes(size)
            yield Broken(f"{name}, noise in it", extension, content[:start] + noise + content[start + size :], outcome)
        yield Broken(
            f"{name}, zeros in it", extension, content[:start] + bytes(size) + content[start + size :], outcome
        )
        if extension != "wav" and extension != "aiff":
            yield Broken(f"{name}, a piece lost", extension, content[:start] + content[start + size :], "told")


def _joined(files: dict[str, tuple[str, bytes]]) -> Iterator[Broken]:
    rng = np.random.default_rng(1)
    for name, (extension, content) in files.items():
        yield Broken(f"{name}, noise behind it", extension, content + b"\x80" + rng.bytes(300), "told")
        yield Broken(f"{name}, zeros behind it", extension, content + bytes(300), "told")
        yield Broken(f"{name}, a tag behind it", extension, content + b"TAG" + bytes(125), "told")
    for name in ("wav", "aiff", "flac", "vorbis", "opus"):
        yield Broken(f"{name}, twice", files[name][0], files[name][1] * 2, "failed")


def _headers(files: dict[str, tuple[str, bytes]]) -> Iterator[Broken]:
    wav = files["wav"][1]
    data = wav.index(b"data") + 4
    for riff in (0, 36, 0xFFFFFFFF):
        for length in (0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
            content = wav[:4] + struct.pack("<I", riff) + wav[8:data] + struct.pack("<I", length) + wav[data + 4 :]
            outcome: Outcome = "noted" if length in (0, 0x80000000) else "whole"
            yield Broken(f"wav, RIFF of {riff:x}, data of {length:x} bytes", "wav", content, outcome)
    short = wav[:data] + struct.pack("<I", RATE_HZ) + wav[data + 4 :]
    yield Broken("wav, more than its header states", "wav", short, "noted")
    fmt = wav.index(b"fmt ") + 8
    for name, offset, value in (
        ("channels", 2, 0),
        ("rate", 4, 0),
        ("bits", 14, 0),
        ("frame", 12, 0),
        ("codec", 0, 0x1234),
    ):
        content = wav[: fmt + offset] + struct.pack("<H", value) + wav[fmt + offset + 2 :]
        if name == "rate":
            content = wav[: fmt + 4] + bytes(4) + wav[fmt + 8 :]
        yield Broken(f"wav, {name} of {value}", "wav", content, "told")
    aiff = bytearray(files["aiff"][1])
    place = aiff.index(b"SSND") + 4
    aiff[place : place + 4] = bytes(4)
    yield Broken("aiff, SSND of 0 bytes", "aiff", bytes(aiff), "noted")
    flac = bytearray(files["flac"][1])
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    yield Broken("flac, no number of samples", "flac", bytes(flac), "whole")
    flac[22:26] = struct.pack(">I", 10 * round(SECONDS * RATE_HZ))
    yield Broken("flac, ten times as many samples", "flac", bytes(flac), "failed")
    m4a = files["m4a faststart"][1]
    for box in (b"stsd", b"stsz", b"stco", b"stsc", b"stts", b"mdhd", b"mp4a", b"esds", b"moov", b"trak"):
        yield Broken(f"m4a, {box.decode()} renamed", "m4a", m4a.replace(box, b"free"), "told")


def _mp3(mp3: bytes) -> Iterator[Broken]:
    info = max(mp3.find(b"Xing"), mp3.find(b"Info"))
    first = mp3.index(mp3[:2], info)  # behind the header's frame
    tag = b"ID3\x04\0\0" + bytes([0, 6, 13, 32]) + bytes(100000)
    yield Broken("mp3, no header", "mp3", mp3[first:], "whole")
    yield Broken("mp3, no header, tagged", "mp3", tag + mp3[first:] + b"TAG" + bytes(125), "whole")
    yield Broken("mp3, no header, noise before it", "mp3", bytes(range(256)) * 4 + mp3[first:], "told")
    yield Broken("mp3, twice", "mp3", mp3 + mp3, "noted", 2 * SECONDS)
    yield Broken("mp3, no header, twice", "mp3", mp3[first:] + mp3[first:], "whole", 2 * SECONDS)
    frames = struct.unpack_from(">I", mp3, info + 8)[0]
    for name, stated, outcome in (("fewer", frames // 4, "noted"), ("more", 8 * frames, "failed")):
        content = mp3[: info + 8] + struct.pack(">I", stated) + mp3[info + 12 :]
        yield Broken(f"mp3, {name} frames stated", "mp3", content, outcome)  # type: ignore[arg-type]


def _samples(encode: Encoder) -> Iterator[Broken]:
    for name, value in (("NaN", np.nan), ("infinite", np.inf), ("1e30", 1e30), ("-3e38", -3e38)):
        samples = sound()
        samples[RATE_HZ] = value
        yield Broken(f"one sample is {name}", "wav", encode.soundfile(samples, "WAV", "FLOAT"), "failed")
        yield Broken(f"all are {name}", "wav", encode.soundfile(np.full_like(samples, value), "WAV", "FLOAT"), "failed")
    yield Broken("times 1e18", "wav", encode.soundfile(1e18 * sound(), "WAV", "FLOAT"), "failed")
    yield Broken("NaN in doubles", "wav", encode.soundfile(np.full((RATE_HZ, 1), np.nan), "WAV", "DOUBLE"), "failed")
    for name, samples in (
        ("scaled as integers", 2.0**31 * sound()),
        ("denormal", 1e-40 * sound()),
        ("silent", 0 * sound()),
        ("DC", np.ones_like(sound())),
        ("alternating", np.resize([1.0, -1.0], sound().shape)),
        ("8 channels", sound(8)),
    ):
        yield Broken(name, "wav", encode.soundfile(samples, "WAV", "FLOAT"), "whole")
    for frames in (0, 1, 7, 200):
        content = encode.soundfile(sound()[:frames], "WAV", "PCM_16")
        yield Broken(f"{frames} samples", "wav", content, "whole" if frames else "failed", frames / RATE_HZ)
    yield Broken("m4a, 8 channels", "m4a", encode.m4a(sound(8), "7.1"), "whole")
    yield Broken("channels that cancel", "wav", encode.soundfile(sound() * [[1, -1]], "WAV", "FLOAT"), "whole")


def _not_audio(files: dict[str, tuple[str, bytes]]) -> Iterator[Broken]:
    contents = {
        "text": b"Dear diary, today I renamed a text file. " * 100,
        "zeros": bytes(20000),
        "noise": np.random.default_rng(2).bytes(20000),
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(5000),
        "page": b"<!DOCTYPE html><html><body>404 not found</body></html>" * 20,
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "ID3 alone": b"ID3\x04\0\0\0\0\x0f\x76" + bytes(2038),
    }
    for extension in ("wav", "flac", "ogg", "mp3", "m4a", "aiff"):
        for name, content in contents.items():
            # Noise may hold what looks like a few frames of MP3.
            outcome: Outcome = "told" if (name, extension) == ("noise", "mp3") else "failed"
            yield Broken(f"{name} called {extension}", extension, content, outcome)
    for name in ("flac", "vorbis", "mp3", "aiff"):
        yield Broken(f"{name} called wav", "wav", files[name][1], "whole")

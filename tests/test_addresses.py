"""Addresses as paths: what they say, what they refuse, and what is listed of objects."""

from __future__ import annotations

import pickle
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from restem import addresses
from restem.addresses import Address, as_path, download, list_objects, upload, wrong_key
from restem.errors import RestemError, UsageError
from restem.files import written_aside

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def root() -> Iterator[Address]:
    """An address of its own in this process's memory."""
    address = as_path(f"memory://{uuid.uuid4().hex}/songs")
    assert isinstance(address, Address)
    yield address
    system, key = address.opened()
    system.rm(key, recursive=True) if system.exists(key) else None


def unpacked(content: bytes) -> Address:
    return pickle.loads(content)  # noqa: S301


def sent(address: Path) -> Address:
    """As another process gets it."""
    return unpacked(pickle.dumps(address))


def put(address: Path, content: bytes = b"1") -> None:
    assert isinstance(address, Address)
    system, key = address.opened()
    system.pipe_file(key, content)


def test_what_is_written_as_an_address_is_one_and_paths_stay_paths() -> None:
    assert isinstance(as_path("s3://bucket/songs"), Address)
    for path in ("songs", "/songs", "C:/songs", "a/s3://b", "file:///songs"):
        assert not isinstance(as_path(path), Address), path
    assert as_path("file:///songs") == Path("/songs")
    given = Path("songs")
    assert as_path(given) is given


def test_parts_of_an_address() -> None:
    address = as_path("s3://bucket/songs/")
    inner = address / "Song 1/vocals.take.FLAC"
    assert str(inner) == "s3://bucket/songs/Song 1/vocals.take.FLAC"
    assert (inner.name, inner.suffix, str(inner.parent.parent)) == ("vocals.take.FLAC", ".FLAC", str(address))
    assert inner.is_relative_to(address) and not address.is_relative_to(inner)
    assert inner.relative_to(address).as_posix() == "Song 1/vocals.take.FLAC"
    assert address.absolute() == address.resolve() == address.expanduser() == address
    assert repr(address) == "Address('s3://bucket/songs')" and address != Path("s3:/bucket/songs2")
    assert sent(inner) == inner and str(sent(inner)) == str(inner)


@pytest.mark.parametrize(
    "text", ["s3://", "s3:///", "s3://bucket//songs", "s3://bucket/../songs", "s3://bucket/./x", "s3://bucket/a\\b"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        as_path(text)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="an address holds no password") as caught:
        as_path("sftp://me:secret@host/songs")
    assert "secret" not in str(caught.value)


def test_whatever_needs_a_disk_refuses_an_address(root: Address, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(root / "a.wav")
    uses = (
        lambda: root.mkdir(parents=True), lambda: root.touch(), lambda: root.write_text("x"), lambda: open(root),  # noqa: PTH123, SIM115
        lambda: root.rename("x"), lambda: shutil.copyfile(__file__, root), lambda: list(root.glob("*")),
    )  # fmt: skip
    for use in uses:
        with pytest.raises(UsageError, match="is an address"):
            use()
    assert list(tmp_path.iterdir()) == []


def test_content_and_existence(root: Address) -> None:
    assert not root.exists() and not root.is_dir() and not (root / "a.csv").is_file()
    put(root / "b/a.csv", "path,labels\né,x\n".encode("utf-8-sig"))
    table = root / "b/a.csv"
    assert table.is_file() and not table.is_dir() and root.is_dir() and (root / "b").exists()
    assert not (root / "b").is_file()
    assert table.stat().st_size == len(table.read_bytes()) == 20
    assert table.read_text(encoding="utf-8-sig") == "path,labels\né,x\n"
    with table.open(encoding="utf-8-sig", newline="") as file:
        assert file.readlines() == ["path,labels\n", "é,x\n"]
    assert [str(one) for one in root.iterdir()] == [str(root / "b")]
    assert list(root.rglob("*")) == list(root.rglob("*.csv")) == [table] and not list(root.rglob("*.wav"))
    with pytest.raises(FileNotFoundError) as caught:
        (root / "none").read_bytes()
    assert caught.value.filename == str(root / "none")


def test_one_listing_tells_of_all_objects(root: Address, monkeypatch) -> None:
    for name in ("Song 1/vocals.wav", "Song 1/bass.wav", "x.csv"):
        put(root / name)
    put(as_path(str(root) + "2") / "other.wav")
    assert set(list_objects(root)) == {"Song 1/vocals.wav", "Song 1/bass.wav", "x.csv"}
    monkeypatch.setattr(Address, "ask", lambda _: pytest.fail("asked again"))
    assert (root / "x.csv").is_file() and not (root / "y.csv").exists()
    assert (root / "x.csv").stored().size == 1
    # What was listed travels with an address to another process.
    packed = pickle.dumps(root / "x.csv")
    known = addresses._known.pop(str(root / "x.csv"))
    assert unpacked(packed).stored() == known


def test_signs_that_mean_something_elsewhere_are_letters_of_a_name(root: Address, tmp_path: Path) -> None:
    names = ["a:b.wav", "[x]*.wav", "50%20 #1?.wav", "x:L.wav", "Ä {y}.wav"]
    for name in names:
        (tmp_path / name).write_text(name, encoding="utf-8")
    upload([(tmp_path / name, root / name) for name in names])
    assert set(list_objects(root)) == set(names)
    for name in names:
        assert (root / name).read_text(encoding="utf-8") == name
    download([(root / name, tmp_path / "again" / name) for name in names])
    assert {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "again").iterdir()} == {
        name: name for name in names
    }


def test_what_was_written_is_known_again(root: Address) -> None:
    put(root / "a.csv")
    list_objects(root)
    with written_aside(root / "b.csv") as aside:
        aside.write_text("two", encoding="utf-8")
        assert not (root / "b.csv").exists()
    assert (root / "b.csv").read_bytes() == b"two" and (root / "b.csv").stored().size == 3


@pytest.mark.parametrize("key", ["../a", "a/../b", "a//b", "./a", "a/..", "a\\..\\b", "a\0b", "/a"])
def test_names_of_objects_that_would_lead_elsewhere(key: str) -> None:
    assert wrong_key(key)


@pytest.mark.parametrize("key", ["a", "a/b.wav", "..a/b...wav", "Ä 1/x:y.wav", "a/b#1?.wav", "*[x].wav"])
def test_names_of_objects_that_are_used(key: str) -> None:
    assert not wrong_key(key) and not PurePosixPath(key).is_absolute()


def test_a_client_that_is_not_installed_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(RestemError, match=r"^gs://bucket/x: gcsfs is not installed; run `pip install gcsfs`") as caught:
        as_path("gs://bucket/x").is_dir()
    assert "\n" not in str(caught.value)
    with pytest.raises(RestemError, match=r"^quux://bucket: there is no such kind of storage; use s3://"):
        as_path("quux://bucket").is_dir()


def test_storage_without_versions_is_refused(root: Address, monkeypatch) -> None:
    put(root / "a.wav")
    system, _ = root.opened()
    monkeypatch.setattr(type(system), "find", lambda *_, **__: {f"{root.opened()[1]}/a.wav": {"size": 1}})
    with pytest.raises(RestemError, match="states neither sizes nor versions"):
        list_objects(root)

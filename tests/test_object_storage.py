"""Datasets, feature stores, runs, audits and exports at addresses, here in the memory of this process.

`tests/test_s3.py` does the same with a server of S3.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import restem
from restem import fetching
from restem.addresses import Address, as_path, list_objects
from restem.audio.mel import MelSettings
from restem.audio.store import Store
from restem.cli.main import run_command
from restem.dataset.walk import walk
from restem.errors import AudioError, DatasetError, RestemError, RunError, UsageError
from restem.runs.run import record

pytest.importorskip("fsspec")

# What is in the memory of a process, its workers do not see.
REFINED: dict[str, Any] = {
    "rounds": 1,
    "folds": 1,
    "steps": 2,
    "seed": 5,
    "workers": 1,
    "device": "cpu",
    "licence": "CC0",
}


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home for copies, caches and scratch."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "TMPDIR"):
            (home / name).mkdir()
            patch.setenv(name, str(home / name))
        patch.setattr("tempfile.tempdir", str(home / "TMPDIR"))
        yield home


def put(address: Path | str, content: bytes) -> None:
    place = as_path(address)
    assert isinstance(place, Address)
    system, key = place.opened()
    system.pipe_file(key, content)


def put_folder(folder: Path, address: Path | str) -> Address:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            put(f"{address}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    place = as_path(str(address))
    assert isinstance(place, Address)
    return place


def names(address: Path | str) -> set[str]:
    place = as_path(str(address))
    assert isinstance(place, Address)
    return set(list_objects(place))


@pytest.fixture
def space() -> str:
    """An address of its own."""
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, band_writer: Callable[..., Path]) -> restem.Run:
    """A run of a dataset on a disk."""
    root = tmp_path_factory.mktemp("local")
    songs = band_writer(root / "songs", songs=2, seconds=2.5)
    return restem.refine(songs, root / "run", cache=root / "cache", **REFINED)


@pytest.fixture(scope="module")
def stored(local: restem.Run) -> restem.Run:
    """The run of the same dataset, where dataset, cache and run are at addresses."""
    space = f"memory://{uuid.uuid4().hex}"
    put_folder(local.dataset_root, f"{space}/songs")
    return restem.refine(f"{space}/songs", f"{space}/run", cache=f"{space}/cache", **REFINED)


def test_a_dataset_at_an_address_is_read_as_on_a_disk(write_band, tmp_path: Path, space: str) -> None:
    root = write_band(tmp_path / "songs", songs=2, seconds=1.0)
    (root / "Song 1" / "mixture.wav").write_bytes((root / "Song 1" / "bass.wav").read_bytes())
    (root / "Song 1" / "notes.txt").write_text("x", encoding="utf-8")
    (root / ".git" / "a").mkdir(parents=True)
    (root / ".git" / "a" / "x.wav").touch()
    (root / "Song 2" / ".hidden.wav").touch()
    (root / "Song 2" / "like.wav" / "x").mkdir(parents=True)
    (root / "Song 2" / "like.wav" / "x" / "bass.wav").touch()
    here, there = restem.open_dataset(root), restem.open_dataset(put_folder(root, f"{space}/songs"))
    assert there.stems == here.stems and there.layout == here.layout and there.notes == here.notes
    assert sorted((one.path, one.reason) for one in there.skipped) == sorted(
        (one.path, one.reason) for one in here.skipped
    )
    assert repr(there) == repr(here)
    broken = {"error"}
    found = restem.scan(there, workers=1)
    assert found.drop(broken).equals(restem.scan(here, workers=1).drop(broken))


def test_messages_about_an_object_name_it_and_scratch_is_empty(write_band, tmp_path: Path, space: str, _home) -> None:
    root = put_folder(write_band(tmp_path / "songs", songs=1, seconds=1.0), f"{space}/songs")
    put(root / "Song 1/bass.wav", b"RIFF no")
    put(root / "Song 1/drums.wav", b"")
    errors = dict(restem.scan(root, workers=1).select("stem", "error").iter_rows())
    for name in ("Song 1/bass.wav", "Song 1/drums.wav"):
        assert errors[name].startswith(f"{root / name}: ") and "object." not in errors[name], errors[name]
    assert errors["Song 1/vocals.wav"] == ""
    assert [path for path in (_home / "TMPDIR").rglob("*") if path.is_file()] == []


def test_tables_and_metadata_at_addresses(write_band, tmp_path: Path, space: str) -> None:
    root = write_band(tmp_path / "songs", songs=1, seconds=0.5)
    table = "path,labels,song\nSong 1/vocals.wav,vocals,S\nSong 1/bass.wav,bass+drums,S\n"
    put_folder(root, f"{space}/songs")
    put(f"{space}/songs/stems.csv", table.encode())
    put(f"{space}/elsewhere.csv", table.encode())
    put(f"{space}/classes.yaml", b"vocals: []\nbass: [low]\ndrums: []\n")
    for dataset in (
        restem.open_dataset(f"{space}/songs"),
        restem.open_dataset(f"{space}/songs/stems.csv"),
        restem.open_dataset(f"{space}/songs", metadata=f"{space}/elsewhere.csv"),
    ):
        assert dataset.layout == "table" and [stem.path for stem in dataset.stems] == [
            "Song 1/bass.wav", "Song 1/vocals.wav"
        ]  # fmt: skip
    assert restem.read_taxonomy(f"{space}/classes.yaml").classes == ("vocals", "bass", "drums")
    put(f"{space}/songs/stems.csv", table.replace("bass.wav", "none.wav").encode())
    with pytest.raises(DatasetError, match=r"stems.csv, line 3: memory://.*none.wav: no such file"):
        restem.open_dataset(f"{space}/songs")


def test_nothing_in_the_name_of_an_object_is_a_path(monkeypatch, space: str) -> None:
    root = as_path(f"{space}/songs")
    hostile = ["../bass.wav", "S/../../bass.wav", "S//bass.wav", "S\\..\\bass.wav", "/etc/bass.wav"]
    objects = {name: list_entry for name in [*hostile, "S/bass.wav"] if (list_entry := (1, "v"))}
    monkeypatch.setattr("restem.dataset.walk.list_objects", lambda _: objects)
    found = walk(root)
    assert [file.path for file in found.audio] == ["S/bass.wav"]
    assert {item.path for item in found.skipped} == set(hostile)


def test_objects_of_equal_size_have_different_entries(tmp_path: Path, space: str) -> None:
    store = Store(tmp_path / "cache", MelSettings())
    first, second = as_path(f"{space}/a.wav"), as_path(f"{space}/b.wav")
    put(first, b"12")
    put(second, b"12")
    entries = {store.entry((first, 0)), store.entry((second, 0)), store.entry((second, 1))}
    assert len(entries) == 3
    put(first, b"34")
    assert isinstance(first, Address)
    list_objects(first.parent)
    assert store.entry((first, 0)) not in entries


def test_an_object_that_is_replaced_after_it_was_listed_is_noticed(write_band, tmp_path: Path, space: str) -> None:
    root = put_folder(write_band(tmp_path / "songs", songs=1, seconds=0.5), f"{space}/songs")
    dataset = restem.open_dataset(root)
    before = dataset.fingerprint()
    content = (root / "Song 1/bass.wav").read_bytes()
    put(root / "Song 1/bass.wav", content[:-2] + b"\1\1")
    with pytest.raises(RestemError, match=r"bass.wav: was replaced since it was listed"):
        restem.scan(dataset, workers=1)
    assert restem.open_dataset(root).fingerprint() != before
    system, key = (root / "Song 1/drums.wav").opened()
    system.rm_file(key)
    errors = dict(restem.scan(restem.open_dataset(root), workers=1).select("stem", "error").iter_rows())
    assert "Song 1/drums.wav" not in errors and not any(errors.values())


def test_a_run_at_an_address_has_the_bytes_of_one_on_a_disk(local: restem.Run, stored: restem.Run) -> None:
    assert stored.address is not None and stored.place == stored.address
    assert names(stored.place) >= {"labels.csv", "segments.parquet", "run.json", "report.html"}
    for name in ("labels.csv", "segments.parquet", "classifier/model.safetensors"):
        assert (stored.place / name).read_bytes() == (local.path / name).read_bytes(), name
    assert str(stored.dataset_root) in (stored.place / "report.html").read_text(encoding="utf-8")
    described = json.loads((stored.place / "run.json").read_text(encoding="utf-8"))
    assert described["dataset"]["root"] == str(stored.dataset_root)
    # The address of the run, not of its copy.
    assert str(stored.path) not in (stored.place / "report.html").read_text(encoding="utf-8")


def test_entries_are_put_once_and_fetched_by_another_machine(
    local: restem.Run, stored: restem.Run, tmp_path: Path, monkeypatch
) -> None:
    cache = stored.place.parent / "cache"
    assert len(names(cache)) == len(local.labels)
    sources = [(stored.dataset.file(stem), 0) for stem in stored.dataset.stems]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    monkeypatch.setattr(Store, "_write", lambda *_: pytest.fail("computed again"))
    store = Store(cache, MelSettings(**stored.description["settings"]["mel"]))
    assert store.fill(sources) == {}
    here = Store(local.path.parent / "cache", store.settings)
    for source, stem in zip(sources, local.dataset.stems, strict=True):
        expected = here.require((local.dataset.file(stem), 0))
        assert (store.require(source).power() == expected.power()).all()
    (entry,) = [store.entry(sources[0])]
    entry.unlink()
    assert store.load(sources[0]) is not None and entry.exists()


def test_a_run_at_an_address_is_read_back(stored: restem.Run, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("restem.labelling.refining._refine", lambda *_: pytest.fail("made again"))
    again = restem.refine(stored.dataset_root, stored.place, cache=tmp_path / "cache", **REFINED)
    assert again.labels.equals(stored.labels) and again.place == stored.place
    with pytest.raises(RunError, match=rf"^{stored.place}: holds a run that differs in `steps`"):
        restem.refine(stored.dataset_root, stored.place, cache=tmp_path / "cache", **{**REFINED, "steps": 4})
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another machine"))
    fetched = restem.open_run(str(stored.place))
    assert fetched.labels.equals(stored.labels) and fetched.path != stored.path
    assert restem.load_classifier(f"{stored.place}/classifier").config.classes == stored.taxonomy.classes
    with pytest.raises(RunError, match=r"^memory://.*/songs: holds no finished run"):
        restem.open_run(stored.dataset_root)


def test_interrupted_work_goes_on_and_nothing_is_half_there(
    local: restem.Run, space: str, tmp_path: Path, monkeypatch
) -> None:
    out = f"{space}/run"
    root = put_folder(local.dataset_root, f"{space}/songs")

    def stop(stage: str, *_: int) -> None:
        if stage.endswith("scoring"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restem.refine(root, out, cache=tmp_path / "cache", progress=stop, **REFINED)
    assert names(out) == set()
    with pytest.raises(RunError, match=r"^memory://.*differs in `steps`; .* or delete it. What was begun") as caught:
        restem.refine(root, out, cache=tmp_path / "cache", **{**REFINED, "steps": 9})
    assert Path(str(caught.value).rpartition(" is in ")[2].rstrip(".")).is_dir()
    sent: list[str] = []

    def fail_on_the_last(pairs: list[tuple[Path, Address]]) -> None:
        sent.extend(str(address) for _, address in pairs)
        if sent[-1].endswith("run.json"):
            raise RestemError("the line is cut")
        upload(pairs)

    upload = fetching.upload
    monkeypatch.setattr(fetching, "upload", fail_on_the_last)
    with pytest.raises(RestemError, match="the line is cut"):
        restem.refine(root, out, cache=tmp_path / "cache", **REFINED)
    assert sent[-1] == f"{out}/run.json" and "run.json" not in names(out) and "labels.csv" in names(out)
    with pytest.raises(RunError, match="holds no finished run"):
        restem.open_run(out)
    monkeypatch.undo()
    monkeypatch.setattr("restem.labelling.refining._refine", lambda *_: pytest.fail("made again"))
    run = restem.refine(root, out, cache=tmp_path / "cache", **REFINED)
    assert run.labels.equals(local.labels) and "run.json" in names(out)


def test_an_address_that_holds_something_else_is_left_alone(local: restem.Run, space: str, tmp_path: Path) -> None:
    root = put_folder(local.dataset_root, f"{space}/songs")
    put(f"{space}/out/mine.txt", b"mine")
    with pytest.raises(RunError, match=r"/out: is not empty and holds no run; choose another `out`"):
        restem.refine(root, f"{space}/out", cache=tmp_path / "cache", **REFINED)
    with pytest.raises(DatasetError, match=r"/out: is there already"):
        restem.export(local, f"{space}/out", link="copy")
    for out in (root, root / "inside"):
        with pytest.raises(DatasetError, match="lies in the dataset, which is never written to"):
            restem.refine(root, out, cache=tmp_path / "cache", **REFINED)
    with pytest.raises(DatasetError, match="lies in the dataset"):
        restem.refine(root, tmp_path / "run", cache=root / "cache", **REFINED)
    assert names(f"{space}/out") == {"mine.txt"}


def test_decisions_stay_on_this_machine(stored: restem.Run, space: str, tmp_path: Path) -> None:
    out = put_folder(stored.path, f"{space}/run")
    run = restem.open_run(out)
    before = names(out)
    row = run.labels.row(0, named=True)
    record(run, [restem.Decision(row["song"], row["stem"], row["refined"], "bass", "me")])
    again = restem.open_run(out)
    assert again.labels.row(0, named=True)["refined"] == "bass" and len(again.decisions) == 1
    assert names(out) == before
    assert (out / "labels.csv").read_bytes() == (stored.place / "labels.csv").read_bytes()
    # A report may be written again, here or elsewhere.
    restem.report(out)
    assert len(restem.open_run(out).decisions) == 1
    # Nobody loses them when the run is replaced.
    put(out / "run.json", (out / "run.json").read_bytes() + b" ")
    with pytest.raises(RunError, match=r"--export-decisions FILE`\), and delete"):
        restem.open_run(out)
    assert restem.export_decisions(run.path, tmp_path / "decisions.csv") == 1


@pytest.mark.parametrize("layout", ["table", "songs", "classes", "musdb", "msst-3"])
def test_exports_from_and_to_addresses(
    layout: Any, local: restem.Run, stored: restem.Run, space: str, tmp_path: Path
) -> None:
    expected = restem.export(local, tmp_path / "local", layout=layout, link="copy")
    restem.export(stored, tmp_path / "fetched", layout=layout, link="copy")
    summary = restem.export(stored, f"{space}/out", layout=layout, link="copy")
    files = {path.relative_to(expected.path).as_posix() for path in expected.path.rglob("*") if path.is_file()}
    assert names(summary.path) == files and summary.written == expected.written
    for name in files - {"restem.json", "croissant.json", "README.md"}:
        if name.endswith(".wav"):  # those that are written hold the time of that
            sounds = [soundfile.read(expected.path / name)[0], soundfile.read(tmp_path / "fetched" / name)[0]]
            sounds.append(soundfile.read(io.BytesIO((summary.path / name).read_bytes()))[0])
            assert all(np.array_equal(sound, sounds[0]) for sound in sounds), name
        elif not name.endswith(".csv"):  # lists may hold whole paths
            assert (summary.path / name).read_bytes() == (expected.path / name).read_bytes(), name
    if layout == "table":
        dataset = restem.open_dataset(summary.path)
        assert [stem.given for stem in dataset.stems] == [
            stem.given for stem in restem.open_dataset(expected.path).stems
        ]
    manifest = json.loads((summary.path / "restem.json").read_text(encoding="utf-8"))
    assert manifest["run"] == str(stored.place) and manifest["source"] == str(stored.dataset_root)


def test_an_interrupted_export_is_not_taken_for_one(stored: restem.Run, space: str) -> None:
    def stop(_: str, done: int, __: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restem.export(stored, f"{space}/out", link="copy", progress=stop)
    assert len(names(f"{space}/out")) == 3 and "restem.json" not in names(f"{space}/out")
    with pytest.raises(DatasetError, match="/out: is there already; choose a new folder, or remove it first"):
        restem.export(stored, f"{space}/out", link="copy")
    with pytest.raises(UsageError, match="There are no links to or in object storage; use `link='copy'`"):
        restem.export(stored, f"{space}/out2")


def test_audits_and_reports_at_addresses(local: restem.Run, stored: restem.Run, space: str, tmp_path: Path) -> None:
    here = restem.audit(local.dataset_root, tmp_path / "audit", workers=1)
    there = restem.audit(stored.dataset_root, f"{space}/audit", workers=1)
    for name in ("findings.csv", "bleed.csv", "mixtures.csv"):
        assert (there.place / name).read_bytes() == (here.path / name).read_bytes(), name
    opened = restem.open_audit(f"{space}/audit")
    assert opened.findings.equals(here.findings) and opened.dataset_root == stored.dataset_root
    assert opened.as_dict()["audit"] == f"{space}/audit"
    run = put_folder(stored.path, f"{space}/run")
    before = (run / "report.html").read_bytes()
    assert restem.report(run, audio=True) == run / "report.html"
    assert len((run / "report.html").read_bytes()) > len(before)
    assert restem.report(run, f"{space}/other.html").name == "other.html" and "other.html" in names(space)


def test_training_and_evaluating_at_addresses(local: restem.Run, stored: restem.Run, space: str, tmp_path) -> None:
    settings = restem.TrainSettings(
        model="band_split", steps=2, batch=2, segment_s=1.0, rate_hz=16000, channels=1, parameters={"width": 8}
    )
    options: dict[str, Any] = {"device": "cpu", "workers": 1}
    restem.train(local.dataset, tmp_path / "here", settings, cache=tmp_path / "cache", **options)
    restem.train(stored.dataset, tmp_path / "there", settings, cache=f"{space}/cache", **options)
    weights = "model.safetensors"
    assert (tmp_path / "there" / weights).read_bytes() == (tmp_path / "here" / weights).read_bytes()
    with pytest.raises(UsageError, match=r"/model: is an address; this must be on a disk"):
        restem.train(stored.dataset, f"{space}/model", settings, cache=tmp_path / "cache", **options)
    model = put_folder(tmp_path / "here", f"{space}/model")
    here = restem.evaluate(local.dataset, model=tmp_path / "here", device="cpu")
    there = restem.evaluate(stored.dataset, model=model, device="cpu", out=f"{space}/result")
    assert there.songs.equals(here.songs) and names(f"{space}/result") == {"songs.csv", "summary.json"}
    by_files = restem.evaluate(stored.dataset, estimates=stored.dataset_root)
    assert by_files.songs.equals(restem.evaluate(local.dataset, estimates=local.dataset_root).songs)
    song = stored.dataset_root / "Song 1/bass.wav"
    done = restem.separate(model, [song], tmp_path / "separated", device="cpu")
    assert done.failed == {} and done.done[0].name == "bass"


def test_a_corrupted_copy_of_a_dataset_at_an_address(stored: restem.Run, local: restem.Run, tmp_path: Path) -> None:
    options: dict[str, Any] = {"kind": "regroup", "rate": 0.5, "seed": 1, "workers": 1}
    here = restem.corrupt(local.dataset_root, tmp_path / "here", **options)
    there = restem.corrupt(stored.dataset_root, tmp_path / "there", **options)
    for path in here.rglob("*.flac"):
        assert (there / path.relative_to(here)).read_bytes() == path.read_bytes()


def test_a_truth_at_an_address(stored: restem.Run, local: restem.Run, tmp_path: Path) -> None:
    rows = [f"{song},{stem},{given},drums" for song, stem, given in local.labels.select("song", "stem", "given").rows()]
    (tmp_path / "truth.csv").write_text("\n".join(["song,stem,given,true", *rows]), encoding="utf-8")
    truth = stored.place.with_name("truth.csv")
    put(truth, (tmp_path / "truth.csv").read_bytes())
    assert restem.score(stored, truth).as_dict() == restem.score(local, tmp_path / "truth.csv").as_dict()


def test_a_stem_is_fetched_once_while_it_is_kept(stored: restem.Run, monkeypatch) -> None:
    file = stored.dataset.file(stored.dataset.stems[0])
    assert isinstance(file, Address)
    system, _ = file.opened()
    counts = []
    get_file = type(system).get_file
    monkeypatch.setattr(type(system), "get_file", lambda *given, **more: (counts.append(1), get_file(*given, **more)))
    with fetching.keeping(), fetching.fetched(file) as first:
        with fetching.fetched(file) as second:
            assert first == second
        assert first.exists()
    assert not first.exists() and len(counts) == 1
    copies = fetching.Copies(most=1)
    copy = copies.of(file)
    assert copies.of(file) == copy and copy.read_bytes() == file.read_bytes() and len(counts) == 2
    copies.of(stored.dataset.file(stored.dataset.stems[1]))
    assert not copy.exists()
    copies.close()
    with pytest.raises(AudioError, match=r"none.wav: no such object"):
        restem.audio.reader.probe(file.with_name("none.wav"))


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_a_refinement_fetches_each_stem_once(
    local: restem.Run, space: str, tmp_path: Path, monkeypatch, cache: str
) -> None:
    root = put_folder(local.dataset_root, f"{space}/songs")
    kept = f"{space}/cache" if cache == "memory" else tmp_path / "cache"
    system, _ = root.opened()
    fetched: list[str] = []
    get_file = type(system).get_file

    def counting(self: Any, key: str, *given: Any, **more: Any) -> None:
        fetched.append(key.rpartition("/songs/")[2])
        get_file(self, key, *given, **more)

    monkeypatch.setattr(type(system), "get_file", counting)
    run = restem.refine(root, tmp_path / "run", cache=kept, **REFINED)
    stems = sorted(stem.path for stem in local.dataset.stems)
    assert sorted(fetched) == stems
    assert run.labels.equals(local.labels) and run.description["findings"] == local.description["findings"]
    # Where the features are there, only for damage; what is at an address is on this machine as well.
    fetched.clear()
    restem.refine(root, tmp_path / "again", cache=kept, **{**REFINED, "steps": 4})
    assert sorted(fetched) == stems


def test_commands_take_addresses(stored: restem.Run, space: str, capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    songs = str(stored.dataset_root)
    assert run_command(["scan", songs, "--csv", f"{space}/scan.csv", "--workers", "1"]) == 0
    assert songs in capsys.readouterr().out and "scan.csv" in names(space)
    assert run_command(["refine", songs, "--out", f"{space}/planned", "--workers", "1", "--dry-run"]) == 0
    assert f"{space}/planned" in capsys.readouterr().out and names(f"{space}/planned") == set()
    assert run_command(["report", str(stored.place)]) == 0
    assert f"The report is in {stored.place}/report.html." in capsys.readouterr().out
    assert run_command(["export", str(stored.place), f"{space}/out", "--link", "copy"]) == 0
    assert f"8 stems are in {space}/out" in capsys.readouterr().out
    assert run_command(["export", str(stored.place), f"{space}/out3"]) == 2
    assert "use --link copy" in capsys.readouterr().err
    assert run_command(["corrupt", songs, f"{space}/noisy", "--workers", "1"]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1] == (
        f"restem: {space}/noisy: is an address; this must be on a disk of this machine."
    )
    assert run_command(["scan", f"{space}/nothing"]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

"""Public datasets and habits, as they lie on disk: which stems of which song, class and split are found.

Trees are made of empty files, since opening a dataset decodes nothing. `test_replicas.py` reads some that hold sound.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from restem.dataset.layouts import open_dataset
from restem.dataset.table import Dataset
from restem.errors import DatasetError
from restem.taxonomy import read_taxonomy

Rows = set[tuple[str, str, str, str]]


def make(root: Path, files: Mapping[str, object]) -> Path:
    """Files with their content: text as it is, anything else as JSON, which is YAML as well; None for an empty file."""
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("" if content is None else content if isinstance(content, str) else json.dumps(content))
    return root


def audio(*paths: str) -> dict[str, object]:
    return dict.fromkeys(paths)


def rows(dataset: Dataset) -> Rows:
    return {(stem.song, stem.split, stem.name, dataset.given_text(stem)) for stem in dataset.stems}


def moisesdb() -> dict[str, object]:
    def track(name: str, kind: str, bleed: bool = False) -> dict[str, object]:
        return {"id": name, "trackType": kind, "extension": "wav", "has_bleed": bleed}

    stems = [
        {"stemName": "bass", "tracks": [track("1", "bass_guitar"), track("2", "tuba_(bass_of_brass)")]},
        {"stemName": "bass", "tracks": [track("3", "bassoon_(bass_of_woodwind)", True)]},
        {
            "stemName": "percussion",
            "tracks": [track("4", "pitched_percussion_(mallets)"), track("5", "a-tonal_(claps)")],
        },
        {"stemName": "other", "tracks": [track("6", "click_track"), track("7", "fx/processed_sound")]},
        {"stemName": "vocals", "tracks": [track("8", "other_(vocoder,_beatboxing_etc)"), track("9", "human_choir")]},
    ]
    files = audio(
        *(f"v0.1/abc/bass/{n}.wav" for n in "123"), *(f"v0.1/abc/percussion/{n}.wav" for n in "45"),
        *(f"v0.1/abc/other/{n}.wav" for n in "67"), "v0.1/abc/vocals/8.wav", "v0.1/abc/vocals/stray.wav",
    )  # fmt: skip
    return {**files, "v0.1/abc/data.json": {"song": "x", "stems": stems}}


MEDLEYDB = {
    **audio(*(f"V1/A_B/A_B_STEMS/A_B_STEM_0{n}.wav" for n in "12345")),
    **audio("V1/A_B/A_B_RAW/A_B_RAW_01_01.wav", "V1/A_B/A_B_MIX.wav"),
    "Metadata/A_B_METADATA.yaml": "has_bleed: yes\nstems:\n"
    "  S01: {filename: A_B_STEM_01.wav, instrument: [electric bass, synthesizer]}\n"
    "  S02: {filename: A_B_STEM_02.wav, instrument: bass clarinet}\n"
    "  S03: {filename: A_B_STEM_03.wav, instrument: Main System}\n"
    "  S04: {filename: A_B_STEM_04.wav, instrument: Unlabeled}\n"
    "  S05: {filename: A_B_STEM_05.wav, instrument: timpani}\n",
}  # fmt: skip


def slakh() -> dict[str, object]:
    programs = {
        "S00": (33, "Bass", "Electric Bass (finger)"), "S01": (43, "Strings", "Contrabass"),
        "S02": (52, "Strings (continued)", "Choir Aahs"), "S03": (47, "Strings", "Timpani"),
        "S04": (114, "Percussive", "Steel Drums"), "S05": (118, "Percussive", "Synth Drum"),
        "S06": (120, "Sound effects", "Guitar Fret Noise"), "S07": (85, "Synth Lead", "Lead 6 (voice)"),
    }  # fmt: skip
    stems = {
        key: {"program_num": n, "inst_class": kind, "midi_program_name": name, "is_drum": False, "audio_rendered": True}
        for key, (n, kind, name) in programs.items()
    }
    stems["S08"] = {
        "program_num": 0,
        "inst_class": "Drums",
        "midi_program_name": "x",
        "is_drum": True,
        "audio_rendered": True,
    }
    stems["S09"] = {"program_num": 0, "inst_class": "Piano", "midi_program_name": "x", "audio_rendered": False}
    folder = "slakh2100/Validation/Track00001"
    return {
        **audio(*(f"{folder}/stems/S0{n}.flac" for n in range(10)), f"{folder}/mix.flac"),
        f"{folder}/metadata.yaml": {"audio_dir": "elsewhere", "stems": stems},
    }


CASES: dict[str, tuple[str, dict[str, object], Rows]] = {
    "MoisesDB": (
        "moisesdb",
        moisesdb(),
        {
            ("abc", "", f"v0.1/abc/{path}.wav", label)
            for path, label in {
                "bass/1": "bass", "bass/2": "other", "bass/3": "other", "percussion/4": "other",
                "percussion/5": "drums", "other/7": "other", "vocals/8": "vocals",
            }.items()
        },
    ),
    "MedleyDB": (
        "medleydb",
        MEDLEYDB,
        {
            ("A_B", "", f"V1/A_B/A_B_STEMS/A_B_STEM_{number}.wav", label)
            for number, label in {"01": "bass+other", "02": "other", "04": "?", "05": "drums"}.items()
        },
    ),
    "Slakh2100": (
        "slakh",
        slakh(),
        {
            ("Track00001", "valid", f"slakh2100/Validation/Track00001/stems/S0{n}.flac", label)
            for n, label in enumerate(["bass", "bass", "vocals", "drums", "other", "drums", "other", "other", "drums"])
        },
    ),
    "DSD100": (
        "dsd100",
        audio("Sources/Dev/1 - A/vocals.wav", "Sources/Test/2 - B/bass.wav", "Mixtures/Dev/1 - A/mixture.wav"),
        {
            ("1 - A", "train", "Sources/Dev/1 - A/vocals.wav", "vocals"),
            ("2 - B", "test", "Sources/Test/2 - B/bass.wav", "bass"),
        },
    ),
    "ccMixter": (
        "ccmixter",
        audio("A/mix.wav", "A/source-01.wav", "A/source-02.wav"),
        {("A", "", "A/source-01.wav", "drums+bass+other"), ("A", "", "A/source-02.wav", "vocals")},
    ),
    "MIR-1K": (
        "ikala",
        audio("Wavfile/amy_1_01.wav"),
        {
            ("amy_1_01", "", "Wavfile/amy_1_01.wav:L", "drums+bass+other"),
            ("amy_1_01", "", "Wavfile/amy_1_01.wav:R", "vocals"),
        },
    ),
    "URMP": (
        "urmp",
        audio("01_X_vn_db/AuSep_1_vn_01_X.wav", "01_X_vn_db/AuSep_2_db_01_X.wav", "01_X_vn_db/AuMix_01_X_vn_db.wav"),
        {
            ("01_X_vn_db", "", "01_X_vn_db/AuSep_1_vn_01_X.wav", "other"),
            ("01_X_vn_db", "", "01_X_vn_db/AuSep_2_db_01_X.wav", "bass"),
        },
    ),
    "CocoChorales": (
        "tracks",
        audio(
            "main/train/string_track1/stems_audio/1_violin.wav", "main/train/string_track1/mix.wav",
            "main/train/string_track1/stems_audio/4_double_bass.wav",
        ),
        {
            ("main/string_track1", "train", "main/train/string_track1/stems_audio/1_violin.wav", "other"),
            ("main/string_track1", "train", "main/train/string_track1/stems_audio/4_double_bass.wav", "bass"),
        },
    ),
    "GuitarSet": (
        "guitarset",
        audio("audio_mono-mic/00_BN1-129-Eb_comp_mic.wav", "audio_hex-pickup_original/00_BN1-129-Eb_comp_hex.wav"),
        {
            ("00_BN1-129-Eb_comp", "", "audio_mono-mic/00_BN1-129-Eb_comp_mic.wav", "other"),
            ("00_BN1-129-Eb_comp", "", "audio_hex-pickup_original/00_BN1-129-Eb_comp_hex.wav", "other"),
        },
    ),
    "StemGMD": (
        "stemgmd",
        audio("single_stems/Bluebird/drummer1/1/kick.wav"),
        {("Bluebird/drummer1/1", "", "single_stems/Bluebird/drummer1/1/kick.wav", "drums")},
    ),
    "MSST type 3": (
        "msst-csv",
        {**audio("a/v0.wav", "a/k0.wav"), "list.csv": "instrum,path\nvocals,a/v0.wav\nkick drum,a/k0.wav\n"},
        {("a/v0", "", "a/v0.wav", "vocals"), ("a/k0", "", "a/k0.wav", "drums")},
    ),
    "MSST type 5": (
        "songs",
        audio(*(f"Song/chunk_000{n}/{name}.wav" for n in range(2) for name in ("vocals", "drums"))),
        {("Song", "", f"Song/chunk_000{n}/{name}.wav", name) for n in range(2) for name in ("vocals", "drums")},
    ),
    "Open-Unmix": (
        "classes",
        audio(*(f"{split}/{name}/x{split}.wav" for split in ("train", "Val") for name in ("vocals", "bass"))),
        {
            (f"x{split}", {"Val": "valid"}.get(split, split), f"{split}/{name}/x{split}.wav", name)
            for split in ("train", "Val")
            for name in ("vocals", "bass")
        },
    ),
    "AudioFolder": (
        "audiofolder",
        {
            **audio("train/a.wav", "test/b.wav", "test/c.wav"),
            "train/metadata.csv": "file_name,label,song\na.wav,drums+bass,One\n",
            "test/metadata.jsonl": '{"file_name": "b.wav", "label": "steel drum", "song": "Two"}\n',
        },
        {("One", "train", "train/a.wav", "drums+bass"), ("Two", "test", "test/b.wav", "other")},
    ),
    "songs of one name in two splits": (
        "songs",
        audio("train/1/vocals.wav", "valid/1/vocals.wav", "valid/2/vocals.wav"),
        {(f"{s}/{n}", s, f"{s}/{n}/vocals.wav", "vocals") for s, n in (("train", 1), ("valid", 1), ("valid", 2))},
    ),
    "a song called test": ("songs", audio("test/bass.wav"), {("test", "", "test/bass.wav", "bass")}),
    "a folder and a file for classes": (
        "song-folders",
        audio("A/vocals/1.wav", "A/vocals/takes/2.wav", "A/03 Drums.wav", "A/mix.wav"),
        {
            ("A", "", "A/vocals/1.wav", "vocals"), ("A", "", "A/vocals/takes/2.wav", "vocals"),
            ("A", "", "A/03 Drums.wav", "drums"),
        },
    ),
    "a song with an instrument in its name": (
        "tracks",
        audio(
            "Bass Culture/Bass Culture - Kick.wav", "Bass Culture/Bass Culture_Gtr 2.wav", "Bass Culture/Room.wav",
            "Bass Culture/03 Lead Vox.wav", "Bass Culture/Bass Culture - Main Mix.wav",
        ),
        {
            ("Bass Culture", "", "Bass Culture/Bass Culture - Kick.wav", "drums"),
            ("Bass Culture", "", "Bass Culture/Bass Culture_Gtr 2.wav", "other"),
            ("Bass Culture", "", "Bass Culture/03 Lead Vox.wav", "vocals"),
            ("Bass Culture", "", "Bass Culture/Room.wav", "?"),
        },
    ),
    "tracks that begin alike": (
        "tracks",
        audio(
            *(f"bounces 3/Drum Song {name}.aif" for name in ("Kick In", "E Gtr", "Lead Vox")),
            *(f"bounces 3/Drum Song {name}.aif" for name in ("Room", "FX Return")),
        ),
        {
            ("bounces 3", "", "bounces 3/Drum Song Kick In.aif", "drums"),
            ("bounces 3", "", "bounces 3/Drum Song E Gtr.aif", "other"),
            ("bounces 3", "", "bounces 3/Drum Song Lead Vox.aif", "vocals"),
            ("bounces 3", "", "bounces 3/Drum Song Room.aif", "?"),
        },
    ),
    "a mixture that is called like its song": (
        "tracks",
        audio(*(f"01-AchGott/01-AchGott{name}.wav" for name in ("-violin", "-saxphone", "-bassoon", ""))),
        {
            ("01-AchGott", "", f"01-AchGott/01-AchGott-{name}.wav", "other")
            for name in ("violin", "saxphone", "bassoon")
        },
    ),
    "Artificial Audio Multitracks": (
        "flat",
        audio(*(f"audio-0-249/000{n}_{x}.flac" for n in (1, 2) for x in ("Drums", "ElectricBass", "Violin", "mix"))),
        {
            (f"audio-0-249/000{n}", "", f"audio-0-249/000{n}_{name}.flac", label)
            for n in (1, 2)
            for name, label in {"Drums": "drums", "ElectricBass": "bass", "Violin": "other"}.items()
        },
    ),
    "separated songs in one folder": (
        "flat",
        audio(*(f"1_{song}_({name}).wav" for song in ("A - B", "C") for name in ("Vocals", "Drums", "Instrumental"))),
        {
            (f"1_{song}", "", f"1_{song}_({name}).wav", name.lower())
            for song in ("A - B", "C")
            for name in ("Vocals", "Drums")
        },
    ),
    "groups of one song": (
        "tracks",
        audio(*(f"A/{name}.wav" for name in ("Drums_Kick", "Drums_Snare", "Gtr_Banjo", "Gtr_Guitar"))),
        {
            *(("A", "", f"A/Drums_{name}.wav", "drums") for name in ("Kick", "Snare")),
            *(("A", "", f"A/Gtr_{name}.wav", "other") for name in ("Banjo", "Guitar")),
        },
    ),
    "voices alone": (
        "tracks",
        audio(*(f"A/Vox {name}.wav" for name in ("Lead", "Dbl", "Guide"))),
        {("A", "", f"A/Vox {name}.wav", "vocals") for name in ("Lead", "Dbl", "Guide")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_stems_of(tmp_path: Path, name: str) -> None:
    layout, files, expected = CASES[name]
    dataset = open_dataset(make(tmp_path, files))
    assert rows(dataset) == expected
    assert dataset.layout == layout
    # Whatever is not a stem is named, with a reason; a file of several stems once.
    told = {stem.path for stem in dataset.stems} | {item.path for item in dataset.skipped}
    assert told >= {path for path in files if path != "list.csv"}


def test_what_metadata_say_is_kept(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path, moisesdb()))
    found = {stem.path[-5:]: (stem.instrument, stem.bleed, stem.licence) for stem in dataset.stems}
    assert found["3.wav"[-5:]] == ("bassoon_(bass_of_woodwind)", "yes", "CC BY-NC-SA 4.0")
    assert found["1.wav"] == ("bass_guitar", "no", "CC BY-NC-SA 4.0")
    reasons = {item.path: item.reason for item in dataset.skipped}
    assert reasons["v0.1/abc/vocals/9.wav"] == "named in data.json, but not there"
    assert "not named" in reasons["v0.1/abc/vocals/stray.wav"]
    assert "click track" in reasons["v0.1/abc/other/6.wav"]


def test_families_of_instruments(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path, slakh()), taxonomy=read_taxonomy("family"))
    assert [dataset.taxonomy.format(stem.given) for stem in dataset.stems] == [
        "bass", "bass", "vocals", "percussion", "mallets", "percussion", "fx", "synth", "drums",
    ]  # fmt: skip
    mixed = open_dataset(tmp_path, taxonomy=read_taxonomy("vocals,drums,bass,mallets,other"))
    assert mixed.taxonomy.format(mixed.stems[4].given) == "mallets"
    assert mixed.taxonomy.format(mixed.stems[7].given) == "other"


def test_slakh_as_most_papers_have_it(tmp_path: Path) -> None:
    (tmp_path / "classes.yaml").write_text("vocals:\ndrums:\nbass:\nother: [contrabass, choir aahs]\n")
    taxonomy = read_taxonomy(str(tmp_path / "classes.yaml"))
    dataset = open_dataset(make(tmp_path / "set", slakh()), taxonomy=taxonomy)
    assert [taxonomy.format(stem.given) for stem in dataset.stems[:3]] == ["bass", "other", "other"]


def test_medleydb_needs_its_metadata(tmp_path: Path) -> None:
    files = {path: content for path, content in MEDLEYDB.items() if path.endswith(".wav")}
    root = make(tmp_path / "audio", files)
    with pytest.raises(DatasetError, match=r"get them from https://github\.com/marl/medleydb"):
        open_dataset(root)
    make(tmp_path / "clone", {path: text for path, text in MEDLEYDB.items() if path.endswith(".yaml")})
    assert len(open_dataset(root, metadata=tmp_path / "clone")) == 4
    with pytest.raises(DatasetError, match="no such metadata"):
        open_dataset(root, metadata=tmp_path / "none")


def test_mixtures_with_labels_are_refused(tmp_path: Path) -> None:
    make(
        tmp_path,
        {**audio("audio/000/000046_3840.ogg"), "openmic-2018-aggregated-labels.csv": "sample_key,instrument\n"},
    )
    with pytest.raises(DatasetError, match="holds mixtures with the instruments heard in them, not stems"):
        open_dataset(tmp_path)


def test_a_list_with_absolute_paths(tmp_path: Path) -> None:
    root = make(tmp_path / "set", audio("a/x.wav"))
    table = root / "list.csv"
    table.write_text(f"instrum,path\nvocals,{root / 'a/x.wav'}\n")
    assert rows(open_dataset(root)) == rows(open_dataset(table)) == {("a/x", "", "a/x.wav", "vocals")}
    table = tmp_path / "elsewhere.csv"
    table.write_text(f"instrum,path\nvocals,{root / 'a/x.wav'}\n")
    assert len(open_dataset(root, metadata=table)) == 1
    table.write_text("instrum,path\nvocals,/etc/passwd\n")
    with pytest.raises(DatasetError, match=r"elsewhere\.csv, line 2: /etc/passwd: lies outside of"):
        open_dataset(root, metadata=table)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"stems": 3}',
        '{"stems": [1, {"stemName": "bass", "tracks": [{"id": "../../x"}, 7]}]}',
        "a: &a [*a]",
    ],
)
def test_damaged_metadata_never_end_in_a_fault(tmp_path: Path, content: str) -> None:
    for files, name in (
        (moisesdb(), "v0.1/abc/data.json"),
        (MEDLEYDB, "Metadata/A_B_METADATA.yaml"),
        (slakh(), "slakh2100/Validation/Track00001/metadata.yaml"),
    ):
        root = make(tmp_path / name.replace("/", "_"), {**files, name: content})
        try:
            dataset = open_dataset(root)
        except DatasetError as error:
            assert str(root) in str(error)
        else:
            assert all(".." not in stem.path for stem in dataset.stems)


def test_chunks_and_shared_songs_are_noted(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path / "chunks", CASES["MSST type 5"][1]))
    assert "Chunks" in dataset.notes[0]
    files = audio(
        "musdb/A Classic Education - NightOwl/vocals.wav", "mdb/AClassicEducation_NightOwl/vocals.wav", "x/y/vocals.wav"
    )
    notes = open_dataset(make(tmp_path / "both", files)).notes
    assert any("1 song of MedleyDB and MUSDB18 are there twice" in note for note in notes)

"""Whatever files are called: opening ends in a dataset that tells of each of them, or in a message."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from restem.dataset.draft import write_draft
from restem.dataset.layouts import open_dataset
from restem.errors import RestemError
from restem.taxonomy import Taxonomy, read_taxonomy

WORDS = st.sampled_from(
    [
        "vocals", "Drums", "bass", "01", "Kick", "_", " - ", "(", ")", "train", "Test", "Song A", "mix", "MIX", "Room",
        "stems", "chunk_0001", "é", "ß", "²", "STEM", "RAW", "_STEM_01", "AuSep_1_vn_x", "source-01", "Wavfile", "#2",
        "Sources", "Dev", "single_stems", "audio_mono-mic", "x.stem", "Lead Vox", "808", "+", "a\\b",
    ]
)  # fmt: skip
NAMES = st.lists(WORDS, min_size=1, max_size=4).map("".join).filter(lambda name: name.strip(" .") == name)
FILES = st.lists(
    st.tuples(
        st.lists(NAMES, max_size=3), NAMES, st.sampled_from([".wav", ".FLAC", ".stem.mp4", ".mp3", ".csv", ".json"])
    ),
    min_size=1,
    max_size=8,
)
TAXONOMIES = (Taxonomy(), read_taxonomy("family"), Taxonomy(("lead vocals", "kick", "other"), {"*room*": "other"}))


@settings(max_examples=150)
@given(FILES, st.sampled_from(TAXONOMIES))
def test_every_file_is_a_stem_or_told(files: list[tuple[list[str], str, str]], taxonomy: Taxonomy) -> None:
    with tempfile.TemporaryDirectory() as name:
        root, made = Path(name) / "set", set()
        for folders, base, extension in files:
            path = root.joinpath(*folders, base + extension)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            except OSError:  # a file where a folder should be
                continue
            made.add(path.relative_to(root).as_posix())
        stems: set[str] = set()
        try:
            dataset = open_dataset(root, taxonomy=taxonomy)
        except RestemError as error:
            assert str(error).count("\n") <= 1
        else:
            told = {stem.path for stem in dataset.stems} | {item.path.partition("#")[0] for item in dataset.skipped}
            told |= {item.path for item in dataset.skipped}
            assert made <= told
            stems = {stem.name for stem in dataset.stems}
            assert len(stems) == len(dataset.stems)
            for stem in dataset.stems:
                assert stem.song.strip()
                assert stem.given <= set(taxonomy.classes)
                assert bool(stem.given) != stem.unknown
        try:
            write_draft(root, Path(name) / "draft", taxonomy=taxonomy)
        except RestemError:
            return
        again = open_dataset(root, taxonomy=taxonomy, metadata=Path(name) / "draft/stems.csv")
        assert {stem.name for stem in again.stems} >= stems

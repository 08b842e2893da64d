from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restem.errors import TaxonomyError
from restem.taxonomy import KNOWN_ALIASES, Taxonomy, normalise, read_taxonomy

CLASS_NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True).filter(
    lambda name: name not in {"song", "stem", "given", "true", "mix", "mixture", "refined", "verdict"}
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vocals", "vocals"),
        ("VOCALS", "vocals"),
        ("Lead_Vox_2", "vocals"),
        ("backing-vocals", "vocals"),
        ("Drum Kit (3)", "drums"),
        ("perc01", "drums"),
        ("E.Bass", None),
        ("ebass", "bass"),
        ("other_2", "other"),
        ("guitar", None),
        ("accompaniment", None),
        ("instrumental", None),
        ("no_vocals", None),
        ("karaoke", None),
        ("beat", None),
        ("beats", None),
        ("", None),
        ("2", None),
        ("vocals and drums", None),
    ],
)
def test_names_of_the_default_classes(name: str, expected: str | None) -> None:
    assert Taxonomy().match(name) == expected


def test_aliases_belong_to_the_classes_there_are() -> None:
    assert Taxonomy().match("keys") is None
    assert Taxonomy(("piano", "other")).match("keys") == "piano"
    assert Taxonomy(("vocals", "choir")).match("choir") == "choir"


def test_no_alias_stands_for_two_classes() -> None:
    aliases = [normalise(alias) for others in KNOWN_ALIASES.values() for alias in others]
    assert len(set(aliases)) == len(aliases)
    assert not set(aliases) & set(KNOWN_ALIASES)


def test_classes_that_differ_by_a_number() -> None:
    taxonomy = Taxonomy(("guitar1", "guitar2"))
    assert taxonomy.match("guitar2") == "guitar2"
    assert taxonomy.parse("guitar2+guitar1") == {"guitar1", "guitar2"}


@given(st.data(), st.lists(CLASS_NAMES, min_size=1, max_size=6, unique=True))
def test_label_sets_survive_being_written(data: st.DataObject, classes: list[str]) -> None:
    taxonomy = Taxonomy(tuple(classes))
    labels = data.draw(st.frozensets(st.sampled_from(classes)))
    written = taxonomy.format(labels)
    assert taxonomy.parse(written) == labels
    assert taxonomy.parse("+".join(reversed(written.split("+")))) == labels
    assert written.split("+") == [name for name in classes if name in labels] or not labels
    assert taxonomy.from_flags(taxonomy.to_flags(labels)) == labels


def test_label_sets_as_people_write_them() -> None:
    taxonomy = Taxonomy()
    assert taxonomy.parse(" Vox + drums ") == {"vocals", "drums"}
    assert taxonomy.parse("") == taxonomy.parse("  ") == frozenset()
    assert taxonomy.format({"other", "vocals"}) == "vocals+other"


@pytest.mark.parametrize("text", ["kazoo", "bass+", "bass,drums", "+", "bass++drums"])
def test_unknown_labels(text: str) -> None:
    with pytest.raises(TaxonomyError, match="is not a class of vocals,drums,bass,other"):
        Taxonomy().parse(text)


@pytest.mark.parametrize(
    "classes", [(), ("a", "a"), ("Vocals",), ("a  b",), ("a ",), ("song",), ("1",), ("",), ("a+b",), ("é",)]
)
def test_unusable_classes(classes: tuple[str, ...]) -> None:
    with pytest.raises(TaxonomyError):
        Taxonomy(classes)


def test_unknown_in_format_and_aliases() -> None:
    with pytest.raises(TaxonomyError, match="'kazoo' is not a class"):
        Taxonomy().format({"kazoo"})
    with pytest.raises(TaxonomyError, match="which is not a class"):
        Taxonomy(("vocals",), {"x": "drums"})


def test_read_from_text() -> None:
    assert read_taxonomy("Vocals, drums,,bass ").classes == ("vocals", "drums", "bass")
    with pytest.raises(TaxonomyError, match="at least one class"):
        read_taxonomy(" , ")


def test_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("vocals: [Hook, 'ad lib']\ntuba:\ndrums: []\n")
    taxonomy = read_taxonomy(str(path))
    assert taxonomy.classes == ("vocals", "tuba", "drums")
    assert [taxonomy.match(name) for name in ("hook_3", "Ad-Lib", "kit", "Tuba")] == [
        "vocals",
        "vocals",
        "drums",
        "tuba",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- vocals\n- drums\n", "expected one"),
        ("vocals: lead\n", "must be a list"),
        ("vocals: [lead]\ndrums: [lead]\n", "stands for two classes"),
        ("vocals: [lead\n", "cannot be read"),
        ("", "expected one"),
        ("1: [x]\n", "expected one"),
    ],
)
def test_files_that_are_no_taxonomy(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(text)
    with pytest.raises(TaxonomyError, match=says) as caught:
        read_taxonomy(str(path))
    assert "mine.yml" in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TaxonomyError, match="cannot be read"):
        read_taxonomy(str(tmp_path / "none.yaml"))


def test_travels_between_processes() -> None:
    taxonomy = Taxonomy(("vocals", "tuba"), {"horn": "tuba"})
    assert pickle.loads(pickle.dumps(taxonomy)) == taxonomy  # noqa: S301

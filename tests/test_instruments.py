from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restem.instruments import FAMILIES, family_guess, family_of, names_instruments, words_of
from restem.taxonomy import DEFAULT_CLASSES, Taxonomy, read_taxonomy

# Names as they stand in sessions and metadata; `|` between them.
NAMES = {
    "vocals": "Lead Vox|LD VOX 1|BGVs|BV hi|Vox Dbl L|adlibs|vocals_dry|Choir Sop|Soprano 1|Rap Verse 2|leadvox|Vox FX|"
    "Bass Vocal|female rapper|Harmonies|Voz|backingvocals|Beatbox",
    "drums": "Kick|kick_sub|KickIn57|SNR top|Snare Btm|HH|hi-hat|OH L|OHs|Room Drums|FloorTom|Bass Drum|Drum Loop|"
    "808 Kick|LinnDrum Machine|snaretop|Schlagzeug|Drums_Reverb|SnareFX|RevCymbal",
    "percussion": "Shakers|Tambourine L|Congas hi|Cowbell|Sleigh Bells|Taiko Ensemble|timpani|Hand Claps|"
    "auxiliary percussion",
    "bass": "Bass DI|BASS GTR|bassdi|Synth Bass|Double Bass Mic|Upright Bass|808|Sub|E-Bass|Contrabass|"
    "Electric Bass (pick)",
    "guitar": "AcGtr 1|Ac Gtr L|E-Gitarre|Pedal Steel|Acoustic L|Tenor guitar|EGTR dbl|lap steel guitar",
    "plucked": "Banjo|Uke|Harp|Orchestral Harp|Mandolin 2",
    "piano": "Piano L|E Piano|Rhodes|Upright Piano|Wurli|tack piano",
    "keys": "Organ|B3|Vox Organ|Clavinet|Harmonica|Reed Organ|Accordion",
    "synth": "Synth Lead|Warm Pads|Arp 2|SynthStrings|Choir Pad|Moog",
    "strings": "Violin 1|Vln II|Celli|String Quartet|Low Strings|Violas",
    "winds": "Bass Clarinet|Tenor Sax|SaxAlto2|Bari Sax|TromboneBass|French Horn|Tin Whistle|Alto Flute|Tpt 1|Brass",
    "mallets": "Steel Drums|Vibes|Tubular Bells|Music Box|Glock|pitched_percussion",
    "fx": "SFX riser|White Noise|fx/processed sound|Vinyl crackle",
    "": "Room|Amb L|Pair|Track 12|Untitled|Click|Decca Tree L|MIX|Print|Main System|",
}


@pytest.mark.parametrize(("family", "names"), NAMES.items())
def test_families_of_names(family: str, names: str) -> None:
    assert {name: family_of(name) or "" for name in names.split("|")} == dict.fromkeys(names.split("|"), family)


def test_words_of_a_name() -> None:
    assert words_of("01_LeadVoxDT-2") == ["01", "lead", "vox", "dt", "2"]
    assert words_of("OHsSFXPad Batería") == ["ohs", "sfx", "pad", "bateria"]


@given(st.text(max_size=40))
def test_any_text_has_a_family_or_none(text: str) -> None:
    assert family_of(text) in {*FAMILIES, None}
    assert isinstance(names_instruments(text), bool)


def test_numbers_and_case_change_nothing() -> None:
    for name in ("Lead Vox", "Bass Drum", "Bass Clarinet", "Steel Drums"):
        variants = (
            f"01_{name}",
            f"{name} 2",
            name.upper(),
            name.lower(),
            name.replace(" ", "_"),
            name.replace(" ", ""),
        )
        assert {family_of(variant) for variant in variants} == {family_of(name)}


def test_families_belong_to_the_four_classes() -> None:
    assert set(FAMILIES.values()) == set(DEFAULT_CLASSES)
    assert read_taxonomy("family").classes == tuple(FAMILIES)


def test_misspelt_names_are_guessed() -> None:
    assert family_guess("Recordier 2") == "winds"
    assert family_guess("zzz") is None


def test_classes_of_tracks() -> None:
    four, finer = Taxonomy(), Taxonomy(("vocals", "drums", "bass", "guitar", "other"))
    assert [four.classify("05 Gtr L"), finer.classify("05 Gtr L"), finer.classify("Organ")] == [
        "other",
        "guitar",
        "other",
    ]
    assert Taxonomy(("vocals", "drums")).classify("Organ") is None
    own = Taxonomy(("lead vocals", "vocals", "flute", "other"))
    assert [own.classify(name) for name in ("LeadVocals 2", "BackingVox", "AltoFlute", "Oboe")] == [
        "lead vocals", "vocals", "flute", "other",
    ]  # fmt: skip


def test_patterns_in_a_taxonomy() -> None:
    taxonomy = Taxonomy(("drums", "kick", "other"), {"*kick*": "kick", "print": "other"})
    assert [taxonomy.classify(name) for name in ("My Kick In", "Snare", "PRINT")] == ["kick", "drums", "other"]


def test_a_family_that_is_a_class_keeps_its_words() -> None:
    taxonomy = read_taxonomy("family")
    assert [taxonomy.match(name) for name in ("perc", "keys", "kit", "gtr")] == [
        "percussion",
        "keys",
        "drums",
        "guitar",
    ]

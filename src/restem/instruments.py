"""Instruments: which family a name such as `ElecGtr1` or `bass clarinet` belongs to, and which of the four classes.

Families are finer than the four classes: each belongs to one of them (`FAMILIES`). A name is cut into words
(`KickIn` -> kick, in); pairs of words come before single words (a bass drum is not a bass), then words that
name vocals before drums, drums before bass, and bass before all others (`BassSynth` is a bass, `VoxFX` are vocals).
Words that say little, such as `loop` or `lead`, count only where no other word is known.

The families are those of the instrument lists of MedleyDB (https://github.com/marl/medleydb), MoisesDB
(https://github.com/moises-ai/moises-db) and General MIDI; the words are those of these lists, of the file names of raw
multitracks, and abbreviations that are common in studios.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache, lru_cache

FAMILIES: Mapping[str, str] = {
    "vocals": "vocals",
    "drums": "drums",
    "percussion": "drums",
    "bass": "bass",
    "guitar": "other",
    "plucked": "other",
    "piano": "other",
    "keys": "other",
    "synth": "other",
    "strings": "other",
    "winds": "other",
    "mallets": "other",
    "fx": "other",
}
"""Family -> the class of `vocals,drums,bass,other` that it belongs to."""

# Words are in lower case, without accents, and singular where the plural only adds an s.
_WORDS: Mapping[str, str] = {
    "vocals": (
        "vocal vocalist vox vx voc voice voiceover sing singer singing sung choir chorale bv bgv bvox lv ldv ldvox "
        "adlib rap rapper speech speaker spoken speak spokenword whisper scream screamer shout yell acapella ooh aah "
        "ahh beatbox beatboxing vocoder talkbox autotune dialogue dialog narrator narration chant growl humming scat "
        "falsetto gesang stimme chor voix coro voz vozes voce voci canto"
    ),
    "drums": (
        "kick kik kck bd snare snr sn sd tom floortom racktom hihat hh hat ride crash china splash cymbal cym cymb "
        "overhead ovh oh drum drumkit drummer kit drumloop rimshot rim sidestick crossstick beat breakbeat bassdrum "
        "drumset schlagzeug batterie bateria batteria brush"
    ),
    "percussion": (
        "perc percussion conga bongo tambourine tambo tamb tamborine tamborim shaker shekere shk maraca cowbell clap "
        "handclap clapping snap snapping fingersnap stomp stamp cabasa guiro clave triangle woodblock timpani timp "
        "timpano taiko djembe cajon tabla mridangam ghatam kanjira dholak darbuka doumbek gong tamtam gu rattle "
        "castanet sleighbell agogo timbale vibraslap washboard anvil surdo pandeiro udu bodhran dhol bombo guasa "
        "cununo cunono cuica caxixi ganza repinique handdrum perkussion percusion percussao"
    ),
    "bass": (
        "bass bassline bassguitar ebass contrabass doublebass subbass synthbass fretless kontrabass basse bajo basso "
        "baixo"
    ),
    "guitar": (
        "guitar gtr gt git guit gtar egtr agtr acgtr elgtr elecgtr slide strat tele telecaster stratocaster lapsteel "
        "pedalsteel dobro resonator nylon ebow gitarre guitare guitarra chitarra"
    ),
    "plucked": (
        "banjo mandolin mando ukulele ukelele uke harp autoharp dulcimer sitar oud koto shamisen lute bouzouki "
        "balalaika zither guzheng pipa charango cavaquinho kora liuqin yangqin zhongruan ruan saz lyre cimbalom "
        "tanpura tambura santur santoor guqin theorbo harfe"
    ),
    "piano": (
        "piano pianoforte pno rhodes wurlitzer wurli wurly wurlie ep epiano cp70 cp80 steinway fortepiano klavier"
    ),
    "keys": (
        "key keyboard kbd keyb organ org hammond b3 farfisa clav clavinet clavi harpsichord hapischord cembalo "
        "accordion accordian melodica harmonica harmonium concertina bandoneon mellotron melotron orgel akkordeon "
        "teclado clavier tastiere squeezebox virginal spinet"
    ),
    "synth": (
        "synth synthesizer synthesiser syn pad arp arpeggio arpeggiator moog minimoog juno jupiter prophet sequence "
        "sequencer seq pluck stab saw supersaw theremin dx7 ms20 sh101 bleep drone chiptune"
    ),
    "strings": (
        "string strg violin vln viola vla cello celli violoncello vlc vcl fiddle orchestra orch arco pizz "
        "pizzicato erhu dilruba spiccato tremolo geige bratsche violon violoncelle streicher srting"
    ),
    "winds": (
        "flute sax saxophone saxphone clarinet oboe bassoon contrabassoon trumpet tpt trp trombone tbn trb tuba horn "
        "hrn brass wind woodwind reed pipe bagpipe whistle recorder piccolo cornet flugelhorn flugel fluegelhorn "
        "euphonium didgeridoo didge panpipe ocarina duduk shakuhachi shanai shehnai dizi bansuri kazoo bugle "
        "sousaphone quena trompete posaune klarinette flote trompette trompeta tromba"
    ),
    "mallets": (
        "vibraphone vibraharp vibe vib marimba xylophone xylo glockenspiel glock celesta celeste kalimba mbira bell "
        "handbell chime crotale mallet handpan balafon steelpan steeldrum wineglass musicbox metallophone gamelan "
        "carillon"
    ),
    "fx": (
        "fx sfx efx effect noise sweep riser impact boom whoosh sampler scratch turntable vinyl crowd applause rain "
        "thunder storm lightning radio glitch foley texture atmos atmosphere transition soundscape uplifter downlifter "
        "siren explosion bird telephone seashore helicopter gunshot"
    ),
}  # fmt: skip

# Pairs of neighbouring words, in either order. They are needed where a single word would mislead.
_PAIRS: Mapping[str, str] = {
    "vocals": "beat box, ad lib, talk box, bg voice, synth voice, spoken word",
    "drums": (
        "bass drum, drum machine, drum pad, drum synth, drum loop, hi hat, high hat, side stick, cross stick, "
        "gran cassa, grosse caisse, caisse claire, beat machine, drum brush"
    ),
    "percussion": (
        "melodic tom, taiko drum, hand drum, synth drum, frame drum, talking drum, wood block, jam block, "
        "temple block, sleigh bell, jingle bell, cow bell, bell tree, finger snap, finger cymbal, wind chime, "
        "bar chime, mark tree, tam tam, rain stick"
    ),
    "bass": (
        "bass guitar, bass gtr, bass git, bass gt, bass string, bass pizz, bass arco, bass key, bass lead, sub drop"
    ),
    "guitar": (
        "lap steel, pedal steel, steel guitar, les paul, synth gtr, synth guitar, guitar fret, nylon string, "
        "string guitar"
    ),
    "plucked": "bass banjo, guitar harp, guitar banjo",
    "piano": "honky tonk, bass piano, piano string",
    "keys": (
        "vox organ, vox continental, mouth harp, blues harp, jaw harp, reed organ, pipe organ, string machine, "
        "bass harmonica, bass accordion, hammond bass, organ choir"
    ),
    "synth": "synth string, synth brass, synth lead, synth fx, synth sfx, string pad, choir pad, vox pad, synth effect",
    "strings": "bass viol, bass viola, viola gamba",
    "winds": (
        "bass clarinet, bass trombone, bass flute, bass sax, bass saxophone, bass trumpet, bass recorder, bass tuba, "
        "bass oboe, bass horn, bass brass, blown bottle, tin whistle, penny whistle, pan flute, pan pipe"
    ),
    "mallets": (
        "steel drum, steel pan, bass marimba, hang drum, tongue drum, music box, hand bell, thumb piano, "
        "pitched percussion, chromatic percussion, glass harmonica, glass harp, wine glass"
    ),
    "fx": "processed sound, fret noise, breath noise, orchestra hit, crowd clap",
}  # fmt: skip

# Words that say little: they count only where no other word is known. Voices (alto) also name saxophones and guitars.
_WEAK: Mapping[str, str] = {
    "vocals": (
        "soprano mezzo alto tenor baritone lyric harmony backing chorus verse gang duet female male talk backup "
        "background"
    ),
    "drums": "loop fill break trigger groove",
    "percussion": "percussive hand",
    "bass": "upright sub 808",
    "guitar": "acoustic electric distorted rhythm riff solo elec chug",
    "synth": "lead melody theme chord hook",
    "strings": "orchestral ensemble legato staccato",
    "fx": "sample reverse rev hit sound ambient swell",
}

_ORDER = (
    "vocals",
    "drums",
    "percussion",
    "bass",
)  # families whose words come before those of all others, in this order

# Words that stand beside others in a name that is written as one: leadvox, kickin.
_BESIDE = (
    "in out up down top bottom bot low lo hi high mid left right l r close far near room mic amp di dt lead ld back "
    "main clean dist front rear inside outside ac elec acoustic electric bg fem male female sub"
)
_SHORTEST_PART = 3  # of two words that are written as one, one has at least so many letters
_SHORTEST_CUT = 5  # a shorter word is not cut
_ALIKE = 0.75  # of `difflib`, from which a misspelt word is guessed

_CUT = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def words_of(name: str) -> list[str]:
    """The words of a name in lower case, without accents: `01_LeadVoxDT` -> 01, lead, vox, dt."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    return [word.lower() for word in _CUT.findall(plain)]


@lru_cache(maxsize=1 << 14)
def family_of(name: str, *, weak: bool = True) -> str | None:
    """The family that the words of `name` stand for, or None.

    weak: whether words that say little count where no other word is known.

    >>> [family_of(name) for name in ("01_KickIn", "BassClarinet2", "Bass DI", "Ld Vox FX", "Untitled 7")]
    ['drums', 'winds', 'bass', 'vocals', None]
    """
    words = _known_words(words_of(name))
    found: list[str] = []
    position = 0
    while position < len(words):
        if family := _pairs().get(frozenset(words[position : position + 2])):
            found.append(family)
            position += 2
        else:
            found += [_strong()[words[position]]] if words[position] in _strong() else []
            position += 1
    if not found and weak:
        found = [_weak()[word] for word in words if word in _weak()][:1]
    return next((family for family in _ORDER if family in found), found[0] if found else None)


def family_guess(name: str) -> str | None:
    """The family of the known word that a word of `name` is most like, for names that were misspelt."""
    for word in words_of(name):
        if like := get_close_matches(word, list(_strong()), n=1, cutoff=_ALIKE):
            return _strong()[like[0]]
    return None


def names_instruments(name: str) -> bool:
    """Whether `name` consists of words for instruments alone, so that it is not the name of a song.

    >>> names_instruments("Lead Guitars"), names_instruments("Guitar Man")
    (True, False)
    """
    words = _known_words(words_of(name))
    return family_of(name, weak=False) is not None and all(word in _vocabulary() for word in words)


def _known_words(words: list[str]) -> list[str]:
    """The words in the forms in which they are listed; counters are left out."""
    known: list[str] = []
    for position, word in enumerate(words):
        if word.isdigit() and word not in _vocabulary():
            model = words[position - 1] + word if position else word
            known += [model] if model in _vocabulary() else []  # b3, cp70
        else:
            known += _parts(word)
    return known


@lru_cache(maxsize=1 << 14)
def _parts(word: str) -> tuple[str, ...]:
    """A word in the singular, or the two words that it is made of, where it is not known itself: leadvox."""
    if form := _listed(word):
        return (form,)
    for cut in range(len(word) - 1, 0, -1) if len(word) >= _SHORTEST_CUT else ():
        head, tail = _listed(word[:cut]), _listed(word[cut:])
        long_enough = max(cut, len(word) - cut) >= _SHORTEST_PART
        if head and tail and long_enough and (head in _strong() or tail in _strong()):
            return head, tail
    return (word,)


def _listed(word: str) -> str | None:
    """The form of `word`, as it is or in the singular, in which it is listed."""
    forms = [word]
    if len(word) > 2 and word.endswith("s"):
        forms += [word[:-1], word[:-2], word[:-3] + "y"]
    return next((form for form in forms if form in _vocabulary()), None)


@cache
def _strong() -> Mapping[str, str]:
    return {word: family for family, words in _WORDS.items() for word in words.split()}


@cache
def _weak() -> Mapping[str, str]:
    return {word: family for family, words in _WEAK.items() for word in words.split()}


@cache
def _pairs() -> Mapping[frozenset[str], str]:
    return {frozenset(pair.split()): family for family, pairs in _PAIRS.items() for pair in pairs.split(",")}


@cache
def _vocabulary() -> frozenset[str]:
    """All words that a name may be cut into."""
    return frozenset({*_strong(), *_weak(), *_BESIDE.split(), *(word for pair in _pairs() for word in pair)})

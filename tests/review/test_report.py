"""`report.html`: whole, inert whatever the names, small whatever the dataset."""

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from restem.errors import RunError
from restem.review import report
from restem.review.cards import MOST_CARDS, MOST_LINES, select
from restem.review.rendering import package_data
from restem.review.report import write_report
from restem.review.timeline import COLOURS
from restem.runs.findings import exchange
from restem.runs.ledger import Decision
from restem.runs.run import SEGMENTS_FILE, Run, open_run, record, write_run
from restem.runs.tables import labels_schema, segments_schema
from restem.taxonomy import Taxonomy

TAXONOMY = Taxonomy()
SCORES = [0.1, 0.9, 0.2, 0.4]

HOSTILE = [
    "<script>alert(1)</script>.wav",
    "</script><img src=x onerror=alert(1)>.wav",
    "\"' onmouseover='alert(1)' x=\".wav",
    "]]>--><!-- &amp; &lt;b&gt;.wav",
    "[red]x[/red] ${title} $title %s {0}.wav",
    "a\u202egnp\x1b[2J\n.wav",
    "https://example.org/x.wav",
    "{{ 7 * 7 }}{% raw %}{# x #}.wav",
]

Stem = tuple[str, str, str, str, str, float | None]  # song, stem, given, refined, verdict, quality


def make_run(path: Path, stems: list[Stem], segments_each: int = 5, root: str = "/data/takes") -> Run:
    """A run of `stems`; those that did not fail have segments of 3 s every second."""
    failed = [stem[4] == "failed" for stem in stems]
    labels = pl.DataFrame(
        [(*stem, *([None] * 6 if bad else [*SCORES, 60.0, 45.0])) for stem, bad in zip(stems, failed, strict=True)],
        schema=labels_schema(TAXONOMY),
        orient="row",
    )
    heard = [stem for stem, bad in zip(stems, failed, strict=True) if not bad]
    count = len(heard) * segments_each
    start_s = np.tile(np.arange(segments_each, dtype=float), len(heard))
    rng = np.random.default_rng(0)
    columns = {
        "song": [stem[0] for stem in heard for _ in range(segments_each)],
        "stem": [stem[1] for stem in heard for _ in range(segments_each)],
        "start_s": start_s,
        "end_s": start_s + 3,
        "level_db": rng.uniform(-60, 0, count),
        **{name: rng.random(count) for name in TAXONOMY.classes},
    }
    segments = pl.DataFrame(columns, schema_overrides=segments_schema(TAXONOMY))
    dataset = {"root": root, "classes": list(TAXONOMY.classes), "aliases": {}}
    description = {"dataset": dataset, "seed": 7, "finished": "2026-01-04T12:03:00"}
    return write_run(path, TAXONOMY, labels, segments, description)


STEMS: list[Stem] = [
    ("one", "one/drums.wav", "drums", "drums", "kept", 0.95),
    ("one", "one/bass.wav", "bass", "drums+bass", "changed", 0.05),
    ("one", "one/vocals.wav", "vocals", "vocals", "unsure", 0.45),
    ("two", "two/bass.wav", "bass", "", "silent", 0.0),
    ("two", "two/drums.wav", "drums", "drums", "failed", None),
]


VOID = {"meta", "input", "path", "wbr", "br", "img", "link"}  # elements without an end


class Page(HTMLParser):
    """The elements of a page, which must be properly nested, and the text that a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.visible: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == [], "unclosed elements"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} is there twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.visible.append(data)

    @property
    def text(self) -> str:
        return "".join(self.visible)

    def stems(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag and "data-verdict" in attributes]


def page_of(run: Run) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def test_a_report_says_what_was_found(tmp_path: Path) -> None:
    run = make_run(tmp_path, STEMS)
    assert write_report(run) == tmp_path / "report.html"
    page = page_of(run)
    for words in (
        "takes",
        "2 songs",
        "5 stems",
        "4 January 2026, 12:03",
        "seed 7",
        "20.0% of the stems",
        "45 s of 60 s active",
    ):
        assert words in page.text
    assert [card["data-verdict"] for card in page.stems("article")] == ["silent", "changed", "unsure", "failed"]
    assert sum(tag == "svg" for tag, _ in page.elements) == 3
    assert "Songs with several" in page.text


def test_another_path(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", STEMS)
    target = tmp_path / "new folder" / "r.html"
    assert write_report(run, target) == target
    assert target.exists()
    assert not (tmp_path / "run" / "report.html").exists()


def test_hostile_names_are_inert(tmp_path: Path) -> None:
    verdicts = (("changed", "bass", 0.1), ("unsure", "drums", 0.5), ("failed", "drums", None))
    stems: list[Stem] = [
        (f"song {name}", f"folder/{verdict} {name}", "drums", refined, verdict, quality)
        for name in HOSTILE
        for verdict, refined, quality in verdicts
    ]
    harmless: list[Stem] = [(f"song {i // 3}", f"folder/{i}.wav", *stem[2:]) for i, stem in enumerate(stems)]
    page = page_of(make_run(tmp_path / "hostile", stems, root="/data/</title><script>alert(2)</script>"))
    expected = page_of(make_run(tmp_path / "harmless", harmless))
    # Element for element and attribute for attribute, the page is that of harmless names.
    assert [(tag, list(found)) for tag, found in page.elements] == [
        (tag, list(found)) for tag, found in expected.elements
    ]
    assert page.scripts == expected.scripts
    assert not any({"src", "action"} & set(found) for _, found in page.elements)
    assert all(str(found.get("href", "#")).startswith("#") for _, found in page.elements)
    for name in HOSTILE:
        if name.isprintable():
            assert f"folder/changed {name}" in page.text
    assert "changed a\\u202egnp\\x1b[2J\\n.wav" in page.text
    assert not {"\u202e", "\x1b"} & set(page.text)


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    html = write_report(make_run(tmp_path, STEMS)).read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import|<link|<img|<iframe|\bsrc=|\bfetch\(|XMLHttp|\bimport\b", html)
    policy = next(found for tag, found in Page(html).elements if found.get("http-equiv") == "Content-Security-Policy")
    assert str(policy["content"]).startswith("default-src 'none'; ")
    assert "unsafe-eval" not in str(policy["content"])
    assert "script-src 'sha256-" in str(policy["content"])


def test_the_policy_names_the_script_as_it_stands_in_the_page(tmp_path: Path) -> None:
    html = write_report(make_run(tmp_path, STEMS)).read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert f"'sha256-{report._digest(script)}'" in html


def test_it_is_written_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path, STEMS)
    before = write_report(run).read_bytes()
    assert [found.name for found in tmp_path.glob("*.part")] == []

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", fail)
        with pytest.raises(OSError, match="No space"):
            write_report(run)
    assert (tmp_path / "report.html").read_bytes() == before
    assert [found.name for found in tmp_path.iterdir() if found.name.endswith(".part")] == []


def test_it_is_the_same_every_time(tmp_path: Path) -> None:
    run = make_run(tmp_path, STEMS)
    assert report.render(run) == report.render(run)


def test_three_thousand_stems_stay_small_and_are_all_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    stems: list[Stem] = []
    for i in range(3000):
        verdict = str(rng.choice(["kept", "changed", "unsure", "silent", "failed"], p=[0.5, 0.2, 0.2, 0.06, 0.04]))
        refined = {"changed": "drums+bass", "silent": ""}.get(verdict, "drums")
        quality = None if verdict == "failed" else float(rng.random())
        stems.append((f"song {i // 4}", f"song {i // 4}/{i}.wav", "drums", refined, verdict, quality))
    run = make_run(tmp_path, stems, segments_each=240)
    path = write_report(run)
    assert path.stat().st_size < 3_000_000
    page = Page(path.read_text(encoding="utf-8"))
    cards, lines = page.stems("article"), page.stems("tr")
    assert len(cards) == MOST_CARDS
    assert {int(str(found["data-row"])) for found in (*cards, *lines)} == {
        i for i, stem in enumerate(stems) if stem[4] != "kept"
    }
    assert len(cards) + len(lines) == sum(stem[4] != "kept" for stem in stems)
    # Neither of the two that matter crowds out the other.
    assert {verdict: sum(found["data-verdict"] == verdict for found in cards) for verdict in ("changed", "unsure")} == {
        "changed": MOST_CARDS // 2,
        "unsure": MOST_CARDS // 2,
    }
    assert f"The {MOST_CARDS} most doubtful of the {len(cards) + len(lines):,} stems" in page.text


def test_the_most_doubtful_get_the_cards() -> None:
    rows = [(f"s{i}", f"{i}.wav", "drums", "bass", "changed", i / 10) for i in range(9)]
    rows += [("u", "u.wav", "drums", "drums", "unsure", 0.9)]
    labels = pl.DataFrame([(*row, *[None] * 6) for row in rows], schema=labels_schema(TAXONOMY), orient="row")
    selection = select(labels, most=3)
    assert selection.cards["stem"].to_list() == ["0.wav", "1.wav", "u.wav"]
    assert selection.others["stem"].to_list() == [f"{i}.wav" for i in range(2, 9)]


def test_lines_say_why_a_stem_failed_and_the_page_has_contents(tmp_path: Path) -> None:
    run = make_run(tmp_path, [("s", f"s/{i}.wav", "drums", "drums", "failed", None) for i in range(MOST_CARDS + 2)])
    reasons = {f"s/{i}.wav": f"/data/takes/s/{i}.wav: broken at {i}" for i in range(MOST_CARDS + 2)}
    more = {"failures": reasons, "notes": {"s/0.wav": "the last second is missing"}}
    page = page_of(Run(run.path, run.taxonomy, {**run.description, **more}, run.labels))
    assert all(f"broken at {i}" in page.text for i in range(MOST_CARDS + 2))
    targets = [str(found["href"])[1:] for tag, found in page.elements if tag == "a"]
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    sections = [str(found.get("id")) for tag, found in page.elements if tag == "section"]
    assert sections == ["summary", *targets] and {"others", "notes"} <= set(targets)


def test_pictures_are_explained_only_where_there_are_any(tmp_path: Path) -> None:
    assert "Each picture" not in page_of(make_run(tmp_path / "kept", STEMS[:1])).text
    assert "Each picture" not in page_of(make_run(tmp_path / "failed", STEMS[4:])).text
    page = page_of(make_run(tmp_path / "changed", STEMS[1:2]))
    assert "Each picture" in page.text and "the most doubtful first" not in page.text and "1 stems" not in page.text


def test_all_kept(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path, STEMS[:1]))
    assert "Every stem keeps the labels it was given" in page.text
    assert page.stems("article") == []


def test_all_failed(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path, [("s", f"s/{i}.wav", "drums", "drums", "failed", None) for i in range(3)]))
    assert "No stem could be heard" in page.text
    assert len(page.stems("article")) == 3


def test_no_stems_at_all(tmp_path: Path) -> None:
    assert "holds no stems" in page_of(make_run(tmp_path, [])).text


def test_many_label_sets_become_which_class_for_which(tmp_path: Path) -> None:
    sets = [TAXONOMY.format(TAXONOMY.from_flags([bool(i >> bit & 1) for bit in range(4)])) for i in range(16)]
    stems: list[Stem] = [
        ("s", f"s/{i}-{j}.wav", before, after, "changed" if before != after else "kept", 0.2)
        for i, before in enumerate(sets)
        for j, after in enumerate(sets)
    ]
    run = make_run(tmp_path, stems)
    page = page_of(run)
    assert "removed ↓" in page.text and "the rest" not in page.text
    found = exchange(run.labels, TAXONOMY)
    assert found.rows == found.columns == (*TAXONOMY.classes, "nothing")
    # Of all pairs of sets, a class is lost and another gained in 4 of 16 combinations of the two; the other two classes
    # are as they like.
    assert {found.counts[i][j] for i in range(4) for j in range(4) if i != j} == {16}
    assert [found.counts[i][i] for i in range(5)] == [0] * 5
    # Nothing is gained where each of the other three is lost, kept or absent: 3 ** 3 of the cases.
    assert found.counts[0][4] == found.counts[4][0] == 27


def test_one_segment(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path, STEMS, segments_each=1))
    assert sum(tag == "svg" for tag, _ in page.elements) == 3


def test_a_stem_without_segments_has_a_card_without_picture(tmp_path: Path) -> None:
    assert "holds no segments" in page_of(make_run(tmp_path, STEMS, segments_each=0)).text


def test_damaged_segments_name_the_file(tmp_path: Path) -> None:
    run = make_run(tmp_path, STEMS)
    run.segments.drop("bass").write_parquet(tmp_path / SEGMENTS_FILE)
    with pytest.raises(RunError, match=r"segments\.parquet: the column 'bass' is missing"):
        write_report(Run(run.path, run.taxonomy, run.description, run.labels))
    (tmp_path / SEGMENTS_FILE).write_bytes(b"PAR1")
    with pytest.raises(RunError, match=r"segments\.parquet"):
        write_report(Run(run.path, run.taxonomy, run.description, run.labels))


@pytest.mark.parametrize("missing", ["seed", "finished"])
def test_a_description_that_says_less(tmp_path: Path, missing: str) -> None:
    run = make_run(tmp_path, STEMS)
    less = {key: value for key, value in run.description.items() if key != missing}
    assert "5 stems" in page_of(Run(run.path, run.taxonomy, less, run.labels)).text


def luminance(colour: str) -> float:
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2: 4.5 for text, 3 for graphics (level AA)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_seen_in_light_and_dark() -> None:
    css = package_data("report.css")
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in css.split("@media", 2)[:2])
    for theme in (light, dark):
        for paper in ("page", "card"):
            for ink in ("ink", "muted", *(name for name in theme if name.endswith("-ink"))):
                assert contrast(theme[ink], theme[paper]) >= 4.5, (ink, paper)
            for graphic in (*(f"c{i}" for i in range(COLOURS)), "kept", "changed", "unsure", "silent", "failed"):
                assert contrast(theme[graphic], theme[paper]) >= 3, (graphic, paper)
        assert len({theme[f"c{i}"] for i in range(COLOURS)}) == COLOURS


def test_what_to_do_next(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path, STEMS))
    assert "Listen to the 2 stems that changed or are unsure: restem review" in page.text
    assert "Replace the 1 file that could not be read" in page.text
    record(open_run(tmp_path), [Decision("one", stem, "", "drums") for stem in ("one/bass.wav", "one/vocals.wav")])
    page = page_of(open_run(tmp_path))
    assert "Listen to" not in page.text and "2 stems decided by people" in page.text


def test_every_number_has_its_definition(tmp_path: Path) -> None:
    defined = [found["title"] for tag, found in page_of(make_run(tmp_path, STEMS)).elements if tag == "abbr"]
    assert len(defined) >= 12 and all(defined)


def test_previews_are_heard_and_nothing_else_changes(tmp_path: Path, write_band: Callable[..., Path]) -> None:
    songs = write_band(tmp_path / "songs", songs=1, seconds=7.0)
    (songs / "Song 1").rename(songs / "one")
    (songs / "one" / "vocals.wav").write_bytes(b"bad")
    run = make_run(tmp_path / "run", STEMS[:3], root=str(songs))
    plain, heard = Page(report.render(run)), Page(report.render(run, audio=True))
    sounds = [str(found["src"]) for tag, found in heard.elements if tag == "audio"]
    assert [one.partition(",")[0] for one in sounds] == ["data:audio/mpeg;base64"]
    sound, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(sounds[0].partition(",")[2])))
    assert 2.5 < len(sound) / rate_hz < 4.5 and np.abs(sound).max() > 0.05
    assert "cannot be decoded" in heard.text
    policies = [
        next(str(found["content"]) for _, found in page.elements if "http-equiv" in found) for page in (plain, heard)
    ]
    assert policies[1] == policies[0] + "; media-src data:"


def test_the_page_stays_small_for_any_dataset(tmp_path: Path) -> None:
    rows = [(f"s{i}", f"s{i}/x.wav", "drums", "bass", "changed", 0.5) for i in range(MOST_CARDS + MOST_LINES + 7)]
    run = make_run(tmp_path, rows, segments_each=0)
    notes = dict.fromkeys(run.labels["stem"], "the last second is missing")
    page = page_of(Run(run.path, run.taxonomy, {**run.description, "notes": notes}, run.labels))
    assert f"of the {len(rows):,} stems" in page.text and f"of the others the {MOST_LINES:,} most doubtful" in page.text
    assert page.text.count("the last second is missing") == MOST_LINES
    assert f"The first {MOST_LINES:,} of them" in page.text
    assert sum(tag == "tr" and "data-row" in found for tag, found in page.elements) == MOST_LINES

"""One class against the rest: what such a separator learns from, and that it learns to separate."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

import restem
from restem.audio.pcm import PcmStore
from restem.cli.main import run_command
from restem.dataset.layouts import open_dataset
from restem.dataset.table import Dataset
from restem.dataset.targets import outputs_of_classes, target_taxonomy, with_rests, with_targets
from restem.errors import DatasetError, UsageError
from restem.runs.run import write_run
from restem.separation.losses import set_loss
from restem.separation.remixing import Examples, Remixer, RemixSettings
from restem.separation.separator import SeparatorConfig, load_separator
from restem.separation.train import train
from restem.separation.train_settings import TrainSettings
from restem.separation.training_stems import find_places, training_stems_of_dataset
from restem.taxonomy import Taxonomy

RATE_HZ = 8000
REST_NAMES = ("instrumental", "accompaniment", "no_vocals", "Instrumental (Final)")


def noise(rng: np.random.Generator) -> np.ndarray:
    """One second, (sample, channel)."""
    return 0.1 * rng.standard_normal((RATE_HZ, 2))


def write(path: Path, sound: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, RATE_HZ)


class TestDatasets:
    @pytest.mark.parametrize("rest", REST_NAMES)
    def test_a_mixture_of_the_rest_is_the_rest(
        self, rest: str, tmp_path: Path, two_stems: Callable[..., Dataset]
    ) -> None:
        found = with_targets(two_stems(tmp_path, rest, 2), ["vocals"])
        assert found.taxonomy.classes == ("vocals", "rest")
        assert [found.taxonomy.format(stem.given) for stem in found.stems] == ["vocals", "rest"] * 2 or [
            found.taxonomy.format(stem.given) for stem in found.stems
        ] == ["rest", "vocals"] * 2

    @pytest.mark.parametrize("layout", ["classes", "song-folders", "flat", "msst-csv"])
    def test_in_every_layout(self, layout: str, tmp_path: Path) -> None:
        rng, rows = np.random.default_rng(0), ["instrum,path"]
        for song in ("Alpha", "Beta"):
            for name in ("vocals", "instrumental"):
                path = {
                    "classes": f"{name}/{song}.wav", "song-folders": f"{song}/{name}/take.wav",
                    "flat": f"{song} - {name}.wav", "msst-csv": f"{name}/{song}.wav",
                }[layout]  # fmt: skip
                rows.append(f"{name},{path}")
                write(tmp_path / path, noise(rng))
        if layout == "msst-csv":
            (tmp_path / "train.csv").write_text("\n".join(rows))
        found = with_targets(open_dataset(tmp_path, layout=layout), ["vocals"])
        assert len(found.songs) == 2
        for song in found.songs:
            labels = {found.taxonomy.format(stem.given) for stem in found.stems if stem.song == song}
            assert labels == {"vocals", "rest"}

    def test_songs_of_one_name_in_two_splits(self, tmp_path: Path, two_stems: Callable[..., Dataset]) -> None:
        for split in ("train", "test"):
            two_stems(tmp_path / split, songs=1)
        found = with_rests(open_dataset(tmp_path))
        assert sorted((stem.song, stem.split) for stem in found.stems) == [
            ("test/song0", "test"), ("test/song0", "test"), ("train/song0", "train"), ("train/song0", "train"),
        ]  # fmt: skip

    def test_beside_all_stems_a_mixture_of_the_rest_is_left_out(self, songs: Dataset) -> None:
        write(songs.root / "song0" / "accompaniment.wav", noise(np.random.default_rng(0)))
        found = with_targets(open_dataset(songs.root), ["vocals"])
        assert len(found.stems) == 24 and not any("accompaniment" in stem.path for stem in found.stems)

    def test_what_it_lacks_is_another_class(self, tmp_path: Path, two_stems: Callable[..., Dataset]) -> None:
        found = with_targets(two_stems(tmp_path, "no_drums", 1), ["drums"])
        # Vocals sound in it, so it is the rest alone; with vocals.wav beside it, that is used instead.
        assert [found.taxonomy.format(stem.given) for stem in found.stems] == ["rest"]
        assert [item.path for item in found.skipped] == ["song0/no_drums.wav"]

    @pytest.mark.parametrize(
        ("targets", "message"),
        [
            (["guitar"], "add it to `taxonomy`"), (["vocals", "vocals"], "named once"),
            (["vocals", "drums", "bass", "other"], "leave out `target`"),
        ],
    )  # fmt: skip
    def test_refused(self, targets: list[str], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            target_taxonomy(Taxonomy(), targets)

    def test_one_class_names_the_remedy(
        self, songs: Dataset, quick: TrainSettings, tmp_path: Path, two_stems: Callable[..., Dataset]
    ) -> None:
        alone = replace(songs, taxonomy=Taxonomy(("vocals",)))
        with pytest.raises(UsageError, match="`target='vocals'`"):
            train(alone, tmp_path / "out", quick)
        with pytest.raises(DatasetError, match="`target='vocals'` also learns from files"):
            train(two_stems(tmp_path / "two"), tmp_path / "out", quick, cache=tmp_path / "cache", device="cpu")


class TestExamples:
    """What a batch holds: groups of outputs, and the sound of each."""

    def examples(self, data: Dataset, targets: tuple[str, ...], folder: Path, coherent: float = 0.0) -> Examples:
        stems = training_stems_of_dataset(data)
        store = PcmStore(folder, RATE_HZ, 2)
        store.fill([stem.source for stem in stems])
        into = outputs_of_classes(data.taxonomy, targets)
        places = find_places(stems, store, 1.0, into)
        return Remixer(stems, places, store, 1.0, RemixSettings(coherent), 0, into).batch(0, 0, 12)

    @pytest.mark.parametrize("coherent", [0.0, 1.0])
    def test_each_output_is_in_one_group(self, songs: Dataset, tmp_path: Path, coherent: float) -> None:
        """The rest is a whole band, not one of its stems."""
        found = self.examples(songs, ("vocals",), tmp_path / "cache", coherent)
        assert found.groups.shape == (12, 2, 2) and (found.groups.sum(axis=1) == 1).all()
        rest = found.targets[found.groups[:, :, 1] == 1]
        # Clicks, a low tone and noise have energy in every octave; none of them alone has.
        spectrum = np.abs(np.fft.rfft(rest.mean(axis=1))) ** 2
        low, high = spectrum[:, 50:130].sum(axis=1), spectrum[:, 3000:].sum(axis=1)
        assert (low > 0).all() and (high > 0).all()
        assert np.median(high / low) > 1e-3

    def test_both_kinds_of_rest_teach_the_same_outputs(self, tmp_path: Path, two_stems: Callable[..., Dataset]) -> None:
        found = self.examples(with_rests(two_stems(tmp_path / "two")), ("vocals",), tmp_path / "cache")
        assert (found.groups.sum(axis=(1, 2)) == 2).all() and (np.abs(found.targets).max(axis=(2, 3)) > 0).all()

    def test_several_targets_in_one_stem_teach_their_sum(self, songs: Dataset, tmp_path: Path) -> None:
        both = songs.taxonomy.parse("vocals+drums")
        labels = {stem.name: both for stem in songs.stems if "vocals" in stem.path}
        without = replace(songs, stems=tuple(stem for stem in songs.stems if "drums" not in stem.path))
        found = self.examples(without.with_labels(labels), ("vocals", "drums"), tmp_path / "cache")
        assert any((group == [1, 1, 0]).all() for example in found.groups for group in example)
        outputs = torch.randn(12, 3, 2, RATE_HZ, requires_grad=True)
        set_loss(outputs, torch.from_numpy(found.groups), torch.from_numpy(found.targets)).backward()
        # One sum is compared, so that its two outputs have the same gradient.
        assert outputs.grad is not None
        together = (torch.from_numpy(found.groups)[:, :, :2].sum(dim=2) == 2).any(dim=1)
        assert torch.equal(outputs.grad[together, 0], outputs.grad[together, 1]) and together.any()

    def test_a_stem_of_target_and_rest_alone_is_a_mixture(self, songs: Dataset, tmp_path: Path) -> None:
        both = songs.taxonomy.parse("vocals+drums")
        labels = {stem.name: both for stem in songs.stems if stem.path.startswith("song0/vocals")}
        stems = training_stems_of_dataset(songs.with_labels(labels))
        store = PcmStore(tmp_path / "cache", RATE_HZ, 2)
        store.fill([stem.source for stem in stems])
        into = outputs_of_classes(songs.taxonomy, ("vocals",))
        mixture = next(index for index, stem in enumerate(stems) if stem.name == "song0/vocals.wav")
        assert mixture not in find_places(stems, store, 1.0, into).stem
        assert mixture in find_places(stems, store, 1.0).stem


@pytest.mark.parametrize("kind", ["two", "four"])
def test_learns_to_take_one_class_apart(
    songs: Dataset, quick: TrainSettings, tmp_path: Path, kind: str, two_stems: Callable[..., Dataset]
) -> None:
    """From folders of two files and of four stems: no identity, and far better than the mixture."""
    data = songs if kind == "four" else two_stems(tmp_path / "two")
    settings = replace(quick, target=("vocals",), steps=60, batch=4, epoch_steps=60, learning_rate=1e-2)
    separator = train(data, tmp_path / "out", settings, cache=tmp_path / "cache", device="cpu")
    assert load_separator(tmp_path / "out").config.targets == ("vocals",)
    measured = restem.evaluate(data, model=separator, device="cpu").summary()
    for name in ("vocals", "rest"):
        assert measured[name]["songs"] == 6 and measured[name]["sdr"] > measured[name]["mixture_sdr"] + 6.0
    # Files of either kind are measured the same.
    again = restem.evaluate(with_targets(data, ["vocals"]), model=separator, device="cpu").summary()
    assert again == measured
    mixture = np.sum([soundfile.read(path)[0] for path in (data.root / "song0").glob("*.wav")], axis=0)
    write(tmp_path / "song.wav", 0.5 * mixture)
    folder = restem.separate(separator, tmp_path / "song.wav", tmp_path / "separated", device="cpu").done[0]
    vocals, rest = (soundfile.read(folder / f"{name}.wav")[0] for name in ("vocals", "rest"))
    assert np.abs(vocals + rest - 0.5 * mixture).max() < 1e-3
    similar = np.corrcoef(vocals.ravel(), mixture.ravel())[0, 1]
    assert similar < 0.9 and np.square(rest).mean() > 0.1 * np.square(vocals).mean()


def test_from_a_run(songs: Dataset, quick: TrainSettings, tmp_path: Path) -> None:
    """A stem of `drums+bass` is the rest; one of `vocals+drums` is a mixture, and left out."""
    refined = {"song0/bass.wav": "drums+bass", "song1/vocals.wav": "vocals+drums"}
    labels = pl.DataFrame(
        [
            {
                "song": stem.song, "stem": stem.name, "given": songs.taxonomy.format(stem.given),
                "refined": refined.get(stem.name, songs.taxonomy.format(stem.given)), "verdict": "kept",
                "quality": 0.9, **dict.fromkeys(songs.taxonomy.classes, 0.5), "seconds": 4.0, "active_seconds": 4.0,
            }
            for stem in songs.stems
        ]
    )  # fmt: skip
    segments = pl.DataFrame(
        schema={"song": pl.String, "stem": pl.String, **dict.fromkeys(("start_s", "end_s", "level_db"), pl.Float64)}
    ).with_columns(pl.lit(None, pl.Float64).alias(name) for name in songs.taxonomy.classes)
    described = {"root": str(songs.root), "classes": list(songs.taxonomy.classes), "aliases": {}, "fingerprint": "f"}
    run = write_run(tmp_path / "run", songs.taxonomy, labels, segments, {"dataset": described, "licence": "CC0"})
    settings = replace(quick, target=("vocals",), steps=2, epoch_steps=2, validation=0.0)
    separator = train(run, tmp_path / "out", settings, cache=tmp_path / "cache", device="cpu")
    assert separator.config.classes == ("vocals", "rest") and separator.config.licence == "CC0"
    seconds = json.loads((tmp_path / "out" / "training.json").read_text())["seconds_of_class"]
    # Of six stems of vocals one is a mixture; the other eighteen, which sound all the time or click, are the rest.
    whole = seconds["vocals"] / 5
    assert seconds["rest"] == pytest.approx(18 * whole, rel=0.05)


def test_a_separator_with_the_classes_in_another_order(songs: Dataset) -> None:
    """As that of `htdemucs`: each class is compared with its own output."""
    order = ("drums", "bass", "other", "vocals")
    small = {"n_fft": 256, "hop": 128, "bands": 12, "width": 8, "depth": 1}
    torch.manual_seed(0)
    separator = SeparatorConfig("band_split", order, rate_hz=RATE_HZ, segment_s=1.0, parameters=small).build()
    one = replace(songs, stems=songs.stems[:4])
    found = restem.evaluate(one, model=separator, device="cpu").summary()
    same = restem.evaluate(replace(one, taxonomy=Taxonomy(order)), model=separator, device="cpu").summary()
    assert found == same


def test_estimates_of_other_programs(tmp_path: Path, two_stems: Callable[..., Dataset]) -> None:
    data = two_stems(tmp_path / "songs", "no_vocals", 1)
    sounds = {name: soundfile.read(data.root / "song0" / f"{name}.wav")[0] for name in ("vocals", "no_vocals")}
    write(tmp_path / "estimates" / "song0" / "vocals.wav", sounds["vocals"] + 0.1 * sounds["no_vocals"])
    write(tmp_path / "estimates" / "song0" / "Instrumental.wav", 0.9 * sounds["no_vocals"])
    found = restem.evaluate(data, estimates=tmp_path / "estimates", target="vocals").summary()
    assert found["rest"]["sdr"] == pytest.approx(20.0, abs=0.1)  # a tenth of it is missing
    assert found["vocals"]["sdr"] == pytest.approx(found["vocals"]["mixture_sdr"] + 20.0, abs=0.2)


def test_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], two_stems: Callable[..., Dataset]
) -> None:
    data = two_stems(tmp_path / "songs")
    small = ["n_fft=256", "hop=128", "bands=12", "width=8", "depth=1"]
    command = ["train", str(data.root), "--out", str(tmp_path / "out"), "--target", "vocals", "--steps", "2",
               "--batch", "2", "--segment", "1", "--rate", "8000", "--cache", str(tmp_path / "cache"), "--device",
               "cpu", *(word for one in small for word in ("--set", one))]  # fmt: skip
    assert run_command(command) == 0
    assert "seconds per class: vocals" in capsys.readouterr().err
    assert run_command(["evaluate", str(tmp_path / "out"), str(data.root), "--device", "cpu"]) == 0
    assert "rest" in capsys.readouterr().out
    command[command.index("--target") : command.index("--target") + 2] = ["--classes", "vocals"]
    command[3] = str(tmp_path / "other")
    assert run_command(command) == 2
    assert "--target vocals" in capsys.readouterr().err
    assert SeparatorConfig("band_split", ("vocals", "drums")).targets == ()

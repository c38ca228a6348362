"""Shards that others made open as a split: the same table however they are named, and nothing of them is changed."""

import json
import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

from imagefeed.pipeline.dataset.index import read_classes
from imagefeed.pipeline.dataset.manifest import MANIFEST, MEAN_IMAGE, SAMPLES, Manifest
from imagefeed.pipeline.dataset.statistics import Moments, statistics
from imagefeed.pipeline.formats.beton import BetonWriter
from imagefeed.pipeline.image.stored import JPEG, OTHER, RAW
from imagefeed.pipeline.jit.views import bytes_at
from imagefeed.pipeline.jit.xxhash import xxh3_64
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from tests.conftest import encoded, picture
from tests.formats.test_tar import tar_of

COUNT = 11


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def sample(number: int) -> tuple[str, bytes, int]:
    """Suffix, file and label: a rectangle of its own size, every fourth a PNG."""
    kind = "PNG" if number % 4 == 3 else "JPEG"
    image = picture(number, 20 + number, 33 - number)
    return ("png" if kind == "PNG" else "jpg"), encoded(image, kind), number % 5


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """A folder of shards by WebDataset's own ShardWriter."""
    folder = tmp_path / "tars"
    folder.mkdir()
    with webdataset.ShardWriter(f"{folder}/s-%03d.tar", maxcount=4, verbose=False, encoder=False) as writer:
        for number in range(COUNT):
            suffix, data, label = sample(number)
            writer.write({"__key__": f"k{number:02}", suffix: data, "cls": str(label).encode()})
    return folder


@pytest.fixture
def betons(tmp_path: Path) -> Path:
    folder = tmp_path / "betons"
    folder.mkdir()
    for name, numbers in (("a", range(6)), ("b", range(6, COUNT))):
        with BetonWriter(folder / f"{name}.beton", COUNT) as writer:
            for number in numbers:
                height, width = 20 + number, 33 - number
                writer.add("", number % 5, picture(number, height, width).tobytes(), RAW, height, width)
    return folder


def payloads(dataset: Dataset) -> list[bytes]:
    rows = np.arange(len(dataset))
    addresses, maps = dataset.payload_addresses(rows)
    read = [bytes_at(at, size).tobytes() for at, size in zip(addresses, dataset.columns.size.tolist(), strict=True)]
    assert maps
    return read


def test_a_folder_of_tars_is_a_dataset(tars: Path, home: Path) -> None:
    dataset = open_dataset(tars)
    assert len(dataset) == COUNT and [each.wnid for each in dataset.classes] == ["0", "1", "2", "3", "4"]
    assert dataset.samples["key"].to_pylist() == [f"k{number:02}" for number in range(COUNT)]
    assert dataset.columns.id.tolist() == list(range(COUNT))
    assert dataset.columns.label.tolist() == [sample(number)[2] for number in range(COUNT)]
    assert dataset.columns.kind.tolist() == [OTHER if n % 4 == 3 else JPEG for n in range(COUNT)]
    assert payloads(dataset) == [sample(number)[1] for number in range(COUNT)]
    assert not dataset.columns.height.any() and not dataset.columns.xxh3.any() and not dataset.sizes_known
    assert dataset.name(5) == f"{tars}/s-001.tar: sample 5 (k05)"
    assert dataset.path.parent == home / "indexes"
    assert sorted(path.name for path in tars.iterdir()) == ["s-000.tar", "s-001.tar", "s-002.tar"]


def test_betons_are_a_dataset(betons: Path) -> None:
    dataset = open_dataset(betons)
    assert dataset.columns.shard.tolist() == [0] * 6 + [1] * 5 and dataset.sizes_known
    assert payloads(dataset) == [picture(n, 20 + n, 33 - n).tobytes() for n in range(COUNT)]
    assert dataset.columns.height.tolist() == [20 + n for n in range(COUNT)]
    assert len(open_dataset(betons / "b.beton")) == 5


def test_however_it_is_named_it_is_the_same_index(tars: Path) -> None:
    whole = open_dataset(tars)
    for path in (f"{tars}/*.tar", f"{tars}/s-{{000..002}}.tar", f"{tars}/{{s-002,s-00?}}.tar"):
        assert open_dataset(path) == whole and open_dataset(path).path == whole.path
    assert open_dataset(tars / "s-001.tar").samples["key"].to_pylist() == ["k04", "k05", "k06", "k07"]


def test_the_index_is_a_split_and_is_made_once(tars: Path) -> None:
    dataset = open_dataset(tars)
    times = {path: path.stat().st_mtime_ns for path in dataset.path.iterdir()}
    assert sorted(path.name for path in times) == [MANIFEST, SAMPLES]
    assert open_dataset(tars).path == dataset.path == open_dataset(dataset.path).path
    assert {path: path.stat().st_mtime_ns for path in dataset.path.iterdir()} == times
    again = pickle.loads(pickle.dumps(dataset))  # noqa: S301
    assert again == dataset and again.samples.equals(dataset.samples)


def test_the_same_shards_give_the_same_bytes(tars: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = open_dataset(tars).path
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path / "other"))
    other = open_dataset(f"{tars}/*").path
    assert one != other and one.name == other.name
    for name in (MANIFEST, SAMPLES):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_changed_file_is_another_index(tars: Path) -> None:
    before = open_dataset(tars)
    (tars / "s-002.tar").unlink()
    assert len(open_dataset(tars)) == 8
    with pytest.raises(FileNotFoundError, match="s-002.tar is missing"):
        open_dataset(before.path)
    os.utime(tars / "s-001.tar", ns=(1, 1))
    after = open_dataset(tars)
    assert len(after) == 8 and len({before.path, after.path}) == 2


def test_a_file_changed_under_an_open_dataset_is_an_error(tars: Path) -> None:
    dataset = open_dataset(tars)
    dataset.payload_addresses(np.array([0]))
    for name, row in (("s-000.tar", 0), ("s-001.tar", 4)):  # one that is mapped, one that is not yet
        os.utime(tars / name, ns=(1, 1))
        with pytest.raises(ValueError, match=f"{name} was changed after it was indexed: open the dataset again"):
            dataset.payload_addresses(np.array([row]))
    with open(tars / "s-002.tar", "ab") as file:
        file.write(bytes(512))
    with pytest.raises(ValueError, match=r"s-002.tar has \d+ bytes and not the \d+"):
        dataset.payload_addresses(np.array([COUNT - 1]))
    with pytest.raises(ValueError, match="s-000.tar was changed after it was indexed"):
        open_dataset(dataset.path)


def test_keys_may_come_again_in_another_shard(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.tar").write_bytes(tar_of({"0.jpg": sample(1)[1], "0.cls": b"1"}, tarfile.USTAR_FORMAT))
    dataset = open_dataset(tmp_path)
    assert dataset.samples["key"].to_pylist() == ["0", "0"] and dataset.columns.id.tolist() == [0, 1]


def folders(path: Path, *names: str) -> None:
    files = {f"{name}/{place}.jpg": sample(place)[1] for place, name in enumerate(names)}
    path.write_bytes(tar_of(files, tarfile.USTAR_FORMAT))


def test_class_folders_are_sorted_over_all_shards(tmp_path: Path) -> None:
    folders(tmp_path / "a.tar", "cat", "ant")
    folders(tmp_path / "b.tar", "bee", "cat")
    dataset = open_dataset(tmp_path)
    assert [each.wnid for each in dataset.classes] == ["ant", "bee", "cat"]
    assert dataset.columns.label.tolist() == [2, 0, 1, 2]


def test_one_folder_for_all_is_no_label(tmp_path: Path) -> None:
    folders(tmp_path / "a.tar", "train", "train")
    with pytest.raises(ValueError, match="all lie in one folder, train: there are no labels"):
        open_dataset(tmp_path)
    folders(tmp_path / "a.tar", "n01440764", "n01440764")
    assert len(open_dataset(tmp_path).classes) == 1


def test_labels_of_two_sorts_are_refused(tmp_path: Path, tars: Path) -> None:
    folders(tars / "z.tar", "cat", "ant")
    with pytest.raises(ValueError, match=r"z.tar has its labels in folders and .*s-000.tar has numbers"):
        open_dataset(tars)


def test_classes_beside_the_shards(tars: Path, tmp_path: Path) -> None:
    unnamed = open_dataset(tars)
    names = ["n0 tench, Tinca tinca", "n1", "n2 a  b ", "", "n3\tx", "n4 y", "n5 nowhere"]
    (tmp_path / "classes.txt").write_text("\n".join(names))
    dataset = open_dataset(tars)
    assert [(each.wnid, each.words) for each in dataset.classes[:3]] == [
        ("n0", "tench, Tinca tinca"),
        ("n1", "n1"),
        ("n2", "a  b"),
    ]
    assert len(dataset.classes) == 6 and dataset.path != unnamed.path
    (tars / "classes.txt").write_text("n0\nn1\n")
    with pytest.raises(ValueError, match=r"s-00\d.tar has the label \d, and classes.txt names 2 classes"):
        open_dataset(tars)
    (tars / "classes.txt").write_text("n0\nn0\n")
    with pytest.raises(ValueError, match="classes.txt: expected one class a line, each once"):
        open_dataset(tars)
    assert read_classes(tmp_path / "nowhere" / "deep") is None


def test_classes_that_folders_need(tmp_path: Path) -> None:
    folders(tmp_path / "a.tar", "cat", "ant")
    (tmp_path / "classes.txt").write_text("dog\ncat\nant\n")
    assert open_dataset(tmp_path).columns.label.tolist() == [1, 2]
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    with pytest.raises(ValueError, match="classes.txt lacks the class ant"):
        open_dataset(tmp_path)


def test_a_bad_shard_leaves_no_index(tars: Path, home: Path) -> None:
    data = (tars / "s-001.tar").read_bytes()
    (tars / "s-001.tar").write_bytes(data[:4000])
    with pytest.raises(ValueError, match=rf"{tars}/s-001.tar is cut short"):
        open_dataset(tars)
    assert [path for path in (home / "indexes").iterdir() if path.suffix != ".lock"] == []


def test_what_a_killed_process_left_is_swept(tars: Path, home: Path) -> None:
    dataset = open_dataset(tars)
    left = home / "indexes" / f".tmp-0011-{dataset.path.name}"
    dataset.path.rename(left)
    assert open_dataset(tars) == dataset and not left.exists()


def test_several_processes_at_once_make_one_index(tars: Path, home: Path) -> None:
    code = "import sys; from imagefeed import open_dataset; print(open_dataset(sys.argv[1]).path)"
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tars)], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert len({process.communicate(timeout=100)[0] for process in running}) == 1
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len([path for path in (home / "indexes").iterdir() if path.is_dir()]) == 1


def edit(folder: Path, change: Any) -> None:
    record = json.loads((folder / MANIFEST).read_text())
    change(record)
    (folder / MANIFEST).write_text(json.dumps(record))


def test_a_forged_index_is_refused(tars: Path) -> None:
    folder = open_dataset(tars).path
    edit(folder, lambda record: record["shards"][0].update(name="../s-000.tar"))
    with pytest.raises(ValueError, match="is not a file of this folder"):
        open_dataset(folder)


def test_without_statistics_the_command_is_named(tars: Path) -> None:
    dataset = open_dataset(tars)
    assert not dataset.has_statistics and not dataset.has_mean_image
    for ask in (lambda: dataset.statistics, lambda: dataset.mean_image):
        with pytest.raises(ValueError, match=f"{tars} has no statistics .* `imagefeed index {tars} --statistics`"):
            ask()


def imagefeed(*arguments: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "imagefeed", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_with_statistics_it_has_all_that_our_own_splits_have(tars: Path, tmp_path: Path) -> None:
    first = imagefeed("index", tars)
    assert first.returncode == 0, first.stderr
    assert "11 images of 5 classes in 3 tar shards" in first.stdout
    assert f"no statistics yet; to take them: imagefeed index {tars} --statistics" in first.stdout
    made = imagefeed("index", tars, "--statistics", "--workers", "2", "--out", tmp_path / "out")
    assert made.returncode == 0, made.stderr
    assert "11 of 11 images" in made.stderr
    dataset = open_dataset(tars)
    moments = Moments()
    images = [np.asarray(load(number)) for number in range(COUNT)]
    for image in images:
        moments.add(image)
    assert dataset.statistics == statistics(moments) and not dataset.has_mean_image and dataset.sizes_known
    assert dataset.columns.height.tolist() == [image.shape[0] for image in images]
    assert dataset.columns.width.tolist() == [image.shape[1] for image in images]
    assert dataset.columns.xxh3.tolist() == [
        xxh3_64(np.frombuffer(sample(number)[1], np.uint8)) for number in range(COUNT)
    ]
    with pytest.raises(ValueError, match="has no mean image: its images are of several sizes"):
        _ = dataset.mean_image
    moved = open_dataset(tmp_path / "out")
    assert moved.manifest == dataset.manifest == Manifest.load(tmp_path / "out")
    assert moved.samples.equals(dataset.samples)
    refused = imagefeed("index", tars / "s-000.tar", "--out", tmp_path / "out")
    assert refused.returncode == 1 and "out already holds another split" in refused.stderr


def load(number: int) -> np.ndarray:
    from imagefeed.pipeline.image.pillow import load_rgb

    return load_rgb(sample(number)[1])


def test_images_of_one_size_have_a_mean_image(tmp_path: Path) -> None:
    from imagefeed.pipeline.checks.statistics import make_index

    images = [picture(number, 16, 24) for number in range(300)]  # more than one chunk
    with BetonWriter(tmp_path / "a.beton", 300) as writer:
        for number, image in enumerate(images):
            writer.add("", number % 3, image.tobytes(), RAW, 16, 24)
    dataset = make_index(tmp_path, with_statistics=True)
    assert np.allclose(dataset.mean_image, np.mean(images, axis=0))
    assert sorted(dataset.manifest.files) == [MEAN_IMAGE, SAMPLES]
    assert make_index(dataset.path, with_statistics=True).path == dataset.path


def test_an_image_that_does_not_decode_is_named(tmp_path: Path) -> None:
    from imagefeed.pipeline.checks.statistics import make_index

    files = {"a.jpg": sample(0)[1], "a.cls": b"0", "b.jpg": sample(1)[1][:300], "b.cls": b"0"}
    (tmp_path / "a.tar").write_bytes(tar_of(files | {"c.jpg": b"text", "c.cls": b"0"}, tarfile.USTAR_FORMAT))
    with pytest.raises(ValueError, match=r"2 of 3 images cannot be used.*a.tar: sample 1 \(b\): .*; .*sample 2 \(c\)"):
        make_index(tmp_path, with_statistics=True)
    assert not open_dataset(tmp_path).has_statistics


def test_a_split_of_our_own_needs_no_index(shards: Path) -> None:
    from imagefeed.pipeline.checks.statistics import make_index

    with pytest.raises(ValueError, match="is a split that imagefeed made"):
        make_index(shards / "tar" / "train")

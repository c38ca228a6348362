"""The manifest is last: whatever it names is in the folder, whole, synced and hashed before, whoever publishes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from imagefeed.pipeline.checks.statistics import make_index, take_statistics
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.convert.repack import repack
from imagefeed.pipeline.dataset.manifest import MANIFEST, MEAN_IMAGE, SAMPLES, Class, Manifest
from imagefeed.pipeline.dataset.publish import array_writer, copy_writer, publish_folder, publish_split, table_writer
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.files.output_folder import LocalOutput

EMPTY = Manifest(
    split="train",
    format="tar",
    classes=(Class("a", "a"),),
    num_samples=0,
    num_quarantined=0,
    storage=None,
    shards=(),
    statistics=None,
    files={},
    digest="0",
)


class Disk:
    """Passes on what is synced and renamed, in this process, and knows what has been synced since it was written.

    At the rename of a manifest it checks all that the manifest names. The step `fails_at`, counted from 0, raises.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: dict[tuple[int, int], tuple[int, int]] = {}
        self.manifests: list[Path] = []
        self.steps, self.fails_at = 0, -1
        self._fsync, self._replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "replace", self.replace)

    def step(self) -> None:
        self.steps += 1
        if self.steps - 1 == self.fails_at:
            raise ConnectionAbortedError

    def fsync(self, descriptor: int) -> None:
        self.step()
        self._fsync(descriptor)
        status = os.fstat(descriptor)
        self.synced[status.st_dev, status.st_ino] = status.st_size, status.st_mtime_ns

    def replace(self, path: Path, final: Path) -> None:
        self.step()
        if Path(final).name == MANIFEST:
            self.check(Manifest.parse(Path(path).read_bytes(), str(path)), Path(final).parent)
            assert self.is_synced(Path(path))
            self.manifests.append(Path(final))
        self._replace(path, final)

    def is_synced(self, path: Path) -> bool:
        status = path.stat()
        return self.synced.get((status.st_dev, status.st_ino)) == (status.st_size, status.st_mtime_ns)

    def check(self, manifest: Manifest, folder: Path) -> None:
        for name, digest in manifest.files.items():
            assert file_sha256(folder / name) == digest, name
            assert self.is_synced(folder / name), name
        for shard in manifest.shards:
            assert (folder / shard.name).stat().st_size == shard.num_bytes
            assert manifest.is_index or self.is_synced(folder / shard.name), shard.name


@pytest.fixture
def tars(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Shards without a manifest, and a home for their index."""
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path / "home"))
    convert(images, tmp_path / "converted", ConvertOptions(limit=6, shard_size=3))
    (tmp_path / "tars").mkdir()
    for shard in (tmp_path / "converted" / "train").glob("*.tar"):
        shutil.copy(shard, tmp_path / "tars")
    return tmp_path / "tars"


def test_a_conversion_publishes_the_manifest_last(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    made = convert(images, tmp_path / "out", ConvertOptions(limit=6, shard_size=3, format="both"))
    assert sorted(disk.manifests) == sorted(folder / MANIFEST for folder in made) and len(made) == 4
    assert all(MEAN_IMAGE in manifest.files for manifest in made.values())


def test_an_index_its_statistics_and_its_copy_publish_the_manifest_last(
    tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    made = make_index(tars, with_statistics=True, out=tmp_path / "copy")
    assert made.path == tmp_path / "copy" and made.has_statistics
    assert len(disk.manifests) == 3


def test_statistics_of_copied_files_publish_the_manifest_last(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    (folder,) = convert(images / "val", tmp_path / "out", ConvertOptions(resize="none"))
    assert take_statistics(Split.open(folder)).has_statistics
    assert disk.manifests == [folder / MANIFEST] * 2


def test_a_repacked_split_publishes_the_manifest_last(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    repack(Split.open(shards / "tar" / "val"), tmp_path / "out", "beton")
    assert disk.manifests == [tmp_path / "out" / MANIFEST]


def writers(number: int) -> dict[str, Callable[[Path], object]]:
    """Files that differ by `number`."""
    return {
        SAMPLES: table_writer(pa.table({"id": [number]})),
        MEAN_IMAGE: array_writer(np.full((1, 1, 3), number)),
        "copy": copy_writer(Path(__file__)),
    }


@pytest.mark.parametrize("before", [False, True])
def test_whatever_step_fails_no_manifest_names_what_is_not_there(
    before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a split that was there before as well: its manifest stays until the very last step."""
    fails_at, done = 0, False
    while not done:
        folder = tmp_path / str(fails_at)
        with monkeypatch.context() as patch:
            disk, first = Disk(patch), EMPTY
            if before:
                first = publish_split(LocalOutput(folder), EMPTY, {"other": copy_writer(Path(__file__))})
            disk.manifests, disk.steps, disk.fails_at = [], 0, fails_at
            try:
                publish_split(LocalOutput(folder), first, writers(1))
                done = True
            except ConnectionAbortedError:
                pass
        there = folder.is_dir() and (folder / MANIFEST).is_file()
        assert there == (before or bool(disk.manifests))
        if there:
            manifest = Manifest.load(folder)
            assert manifest.files.keys() == {*["other"] * before, *(writers(1) if disk.manifests else [])}
            assert {name: file_sha256(folder / name) for name in manifest.files} == manifest.files
        assert not list(tmp_path.rglob(".tmp-*"))
        fails_at += 1
    assert fails_at == 1 + 4 * 3  # each file is synced, renamed, and its folder synced


def test_a_check_that_raises_leaves_no_manifest(tmp_path: Path) -> None:
    def taken() -> None:
        assert (tmp_path / SAMPLES).exists()
        raise RuntimeError("another has taken the folder")

    with pytest.raises(RuntimeError, match="another has taken"):
        publish_split(LocalOutput(tmp_path), EMPTY, writers(1), taken)
    assert not (tmp_path / MANIFEST).exists()


def test_a_manifest_that_names_a_file_which_is_gone_is_refused(tmp_path: Path) -> None:
    first = publish_split(LocalOutput(tmp_path), EMPTY, writers(1))
    content = (tmp_path / MANIFEST).read_bytes()
    (tmp_path / "copy").unlink()
    with pytest.raises(FileNotFoundError, match="has no copy, which its manifest names"):
        publish_split(LocalOutput(tmp_path), first, {SAMPLES: writers(2)[SAMPLES]})
    assert (tmp_path / MANIFEST).read_bytes() == content


def test_a_folder_appears_whole_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, written = tmp_path / "sub" / "folder", []

    def write(path: Path) -> None:
        written.append(path)
        assert not folder.exists()
        publish_split(LocalOutput(path), EMPTY, writers(len(written)))

    def fails(path: Path) -> None:
        write(path)
        raise KeyError

    with pytest.raises(KeyError):
        publish_folder(folder, fails)
    assert not list(folder.parent.glob("*folder"))
    (folder.parent / ".tmp-0-folder").mkdir()  # of a killed process
    publish_folder(folder, write)
    publish_folder(folder, write)
    assert len(written) == 2 and Manifest.load(folder).files.keys() == writers(0).keys()
    assert sorted(path.name for path in folder.parent.iterdir()) == [".folder.lock", "folder"]

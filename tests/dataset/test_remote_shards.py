"""Tars and betons of others at a URL open as those that lie here, and give the same batches."""

import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagefeed.pipeline.checks.statistics import make_index
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.files.cache import CacheOptions
from imagefeed.pipeline.files.object_store import StorageOptions
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from tests.loader.test_loader import rows
from tests.support.servers import FileServer, file_server

FAST = StorageOptions(timeout=0.5, attempts=3, pause=0.01)
CHEAP = {"dtype": "uint8", "layout": "NHWC", "num_threads": 2, "batch_size": 4, "recipe": "eval", "shuffle": False}
pytestmark = pytest.mark.usefixtures("leaves_no_thread")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def bare(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 training images in tars and in betons, as if others had made them: shards alone."""
    root = tmp_path_factory.mktemp("bare")
    for format in ("tar", "beton"):
        convert(images, root / "made" / format, ConvertOptions(shard_size=9, format=format))
        (root / format).mkdir()
        for shard in (root / "made" / format / "train").glob("shard-*"):
            shutil.copy2(shard, root / format)
    return root


@pytest.fixture
def server(bare: Path, tmp_path: Path) -> Iterator[FileServer]:
    with file_server(Path(shutil.copytree(bare, tmp_path / "served"))) as server:
        yield server


def opened(url: str, tmp_path: Path) -> Dataset:
    return open_dataset(url, cache=CacheOptions(folder=tmp_path / "cache", patience=5), storage=FAST)


@pytest.mark.parametrize("format", ["tar", "beton"])
@pytest.mark.parametrize("named", ["", "/shard-{00000..00003}", "/shard-*"])
def test_shards_at_a_url_give_the_batches_that_they_give_here(
    server: FileServer, bare: Path, format: str, named: str, tmp_path: Path
) -> None:
    suffix = f".{format}" if named else ""
    remote = opened(f"{server.url}/{format}{named}{suffix}", tmp_path)
    here = open_dataset(f"{bare}/{format}{named}{suffix}")
    assert remote.manifest.is_index and len(remote) == 28
    assert remote.samples == here.samples
    expected = rows(here.loader(**CHEAP))  # type: ignore[arg-type]
    assert rows(remote.loader(**CHEAP)) == expected  # type: ignore[arg-type]
    server.requests.clear()
    again = pickle.loads(pickle.dumps(opened(f"{server.url}/{format}{named}{suffix}", tmp_path)))  # noqa: S301
    assert rows(again.loader(**CHEAP)) == expected
    assert not any(name.endswith(f".{format}") for name in server.requests)  # index and shards are here


def test_one_file_and_none(server: FileServer, tmp_path: Path) -> None:
    assert len(opened(f"{server.url}/tar/shard-00000.tar", tmp_path).manifest.shards) == 1
    for missing in ("tar/none.tar", "tar/none-*.tar", "made", "nowhere"):
        with pytest.raises(FileNotFoundError, match=missing.partition("*")[0]):
            opened(f"{server.url}/{missing}", tmp_path)


def test_a_shard_that_was_changed_is_another_and_one_that_changes_is_an_error(
    server: FileServer, tmp_path: Path
) -> None:
    file = server.folder / "tar" / "shard-00000.tar"
    first = opened(f"{server.url}/tar", tmp_path)
    os.utime(file, ns=(10**18, 10**18))
    second = opened(f"{server.url}/tar", tmp_path)
    assert second.path != first.path and second.samples == first.samples
    with pytest.raises(ValueError, match=r"shard-00000\.tar was written to after it was listed: open it again"):
        rows(first.loader(**CHEAP))  # type: ignore[arg-type]
    rows(second.loader(**CHEAP))  # type: ignore[arg-type]


def test_statistics_are_for_a_conversion(server: FileServer, tmp_path: Path) -> None:
    url = f"{server.url}/tar"
    with pytest.raises(ValueError, match=f"imagefeed convert {url} OUT --resize none --statistics"):
        opened(url, tmp_path).statistics  # noqa: B018
    with pytest.raises(ValueError, match=f"imagefeed convert {url} OUT --resize none --statistics"):
        make_index(url, with_statistics=True)

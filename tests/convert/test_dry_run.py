"""A dry run says what the run then does, and leaves nothing behind; the check of the disk asks the same estimate."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.dry_run import describe, estimate
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.dataset.manifest import MANIFEST
from tests.conftest import encoded, picture


@pytest.mark.parametrize(
    "options",
    [
        ConvertOptions(shard_size=7),
        ConvertOptions(resize="none", limit=20, shard_size=6),
        ConvertOptions(format="both", classes=("ant", "cat")),
    ],
)
def test_a_dry_run_is_near_the_truth(
    options: ConvertOptions, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    estimates = {Path(str(each.folder)): each for each in estimate(images, tmp_path, options)}
    assert not list(tmp_path.iterdir())
    understood = capsys.readouterr().err
    made = convert(images, tmp_path, options)
    assert understood.startswith(f"{images} (folder): train ") and capsys.readouterr().err.startswith(understood)
    assert estimates.keys() == made.keys()
    for folder, manifest in made.items():
        said, size = estimates[folder], sum(shard.num_bytes for shard in manifest.shards)
        assert said.num_images == manifest.num_samples + manifest.num_quarantined
        assert (said.num_shards, said.num_classes) == (len(manifest.shards), len(manifest.classes))
        assert len(said.bad) == manifest.num_quarantined
        assert said.seconds > 0
        assert abs(said.num_bytes - size) < 0.1 * size
    assert "with 2 workers" in describe(list(estimates.values()), 2)


def free_bytes(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    """The disk has this room from now on."""
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=int(free)))


@pytest.mark.parametrize(
    "options",
    [
        ConvertOptions(resize="long:65535", raw=True, format="beton"),
        ConvertOptions(resize="short:65500", shard_size=4),
        ConvertOptions(format="both"),
    ],
    ids=["raw", "jpeg", "both"],
)
def test_the_disk_needs_room_for_what_will_be_written(
    options: ConvertOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is enlarged, so a large side asks for no more than the images have."""
    for number in range(12):
        file = tmp_path / "images" / f"class{number % 2}" / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(picture(number, 60 + number, 90)))
    need = sum(each.num_bytes for each in estimate(tmp_path / "images", tmp_path / "out", options))
    free_bytes(monkeypatch, need - 1)
    with pytest.raises(OSError, match="GB free and the shards may take .* make room or choose another folder"):
        convert(tmp_path / "images", tmp_path / "out", options)
    assert not list((tmp_path / "out").rglob("shard-*"))
    free_bytes(monkeypatch, need)
    made = convert(tmp_path / "images", tmp_path / "out", options)
    size = sum(shard.num_bytes for manifest in made.values() for shard in manifest.shards)
    assert abs(need - size) < 0.1 * size


def test_an_interrupted_conversion_needs_room_for_the_rest_alone(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ConvertOptions(shard_size=7)

    def stops(make: Any, tasks: Iterable) -> Iterator:
        for number, task in enumerate(tasks):
            if number == 4:
                raise KeyboardInterrupt
            yield make(task)

    with pytest.raises(KeyboardInterrupt):
        convert(images, tmp_path, options, stops)
    made = sum(shard.stat().st_size for shard in tmp_path.rglob("shard-*.tar"))
    need = sum(each.num_bytes for each in estimate(images, tmp_path, options)) - made
    assert made > need > 0
    free_bytes(monkeypatch, need - 1)
    with pytest.raises(OSError, match="make room"):
        convert(images, tmp_path, options)
    free_bytes(monkeypatch, need + 1)
    convert(images, tmp_path, options)
    assert len(list(tmp_path.rglob(MANIFEST))) == 2

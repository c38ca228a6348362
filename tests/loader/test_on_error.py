"""A sample that is damaged is an error, or left out where that was asked for, and then never in silence."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from imagefeed.pipeline.loader.dataset import Dataset, open_dataset


def spoil(split: Dataset, row: int) -> None:
    """Flips a bit of a stored image."""
    columns = split.columns
    file = split.path / split.manifest.shards[columns.shard[row]].name
    data = bytearray(file.read_bytes())
    data[columns.offset[row] + columns.size[row] // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("decoder", ["own", "turbojpeg"])
def test_a_damaged_sample_is_left_out_when_asked_and_listed(shards: Path, tmp_path: Path, decoder: Any) -> None:
    shutil.copytree(shards / "tar", tmp_path / "data")
    train = open_dataset(tmp_path / "data" / "train")
    whole = {int(i): image for b in train.loader(batch_size=5) for i, image in zip(b.sample_ids, b.images, strict=True)}
    spoil(train, 11)
    damaged = int(train.columns.id[11])
    loader = open_dataset(tmp_path / "data" / "train").loader(batch_size=5, on_error="skip", decoder=decoder)
    with pytest.warns(RuntimeWarning, match=f"sample {damaged} .*XXH3 differs"):
        batches = list(loader)
    assert len(batches) == len(loader) == 6 and len(loader.skipped) == 1 and f"sample {damaged} " in loader.skipped[0]
    for batch in batches:
        for i, sample_id in enumerate(batch.sample_ids.tolist()):
            good = sample_id not in (damaged, -1)
            assert batch.valid[i] == good and (batch.labels[i] >= 0) == good
            assert torch.equal(batch.images[i], whole[sample_id]) if good else not batch.images[i].any()
    loader.set_epoch(0)
    with pytest.warns(RuntimeWarning, match=f"sample {damaged} "):
        pairs = list(loader.pairs())
    assert sum(len(labels) for _, labels in pairs) == 27 and all((labels >= 0).all() for _, labels in pairs)
    with pytest.raises(ValueError, match=f"sample {damaged} "):
        list(open_dataset(tmp_path / "data" / "train").loader(batch_size=5, decoder=decoder))

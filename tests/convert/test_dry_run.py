"""A dry run says what the run then does, and leaves nothing behind."""

from pathlib import Path

import pytest

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.dry_run import estimate, told
from imagefeed.pipeline.convert.options import ConvertOptions


@pytest.mark.parametrize(
    "options",
    [
        ConvertOptions(shard_size=7),
        ConvertOptions(resize="none", limit=20, shard_size=6),
        ConvertOptions(format="both", classes=("ant", "cat")),
    ],
)
def test_a_dry_run_is_near_the_truth(options: ConvertOptions, images: Path, tmp_path: Path) -> None:
    estimates = {Path(str(each.folder)): each for each in estimate(images, tmp_path, options)}
    assert not list(tmp_path.iterdir())
    made = convert(images, tmp_path, options)
    assert estimates.keys() == made.keys()
    for folder, manifest in made.items():
        said, size = estimates[folder], sum(shard.num_bytes for shard in manifest.shards)
        assert said.num_images == manifest.num_samples + manifest.num_quarantined
        assert (said.num_shards, said.num_classes) == (len(manifest.shards), len(manifest.classes))
        assert len(said.bad) == manifest.num_quarantined
        assert said.seconds > 0
        if manifest.format == "tar":
            assert abs(said.num_bytes - size) < 0.1 * size
    assert "with 2 workers" in told(list(estimates.values()), 2)

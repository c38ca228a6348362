"""What a conversion has made, as a user reads it."""

import shlex

from imagefeed.pipeline.convert.convert import Target
from imagefeed.pipeline.dataset.manifest import QUARANTINE, Manifest
from imagefeed.pipeline.files.object_store import is_url


def report(manifests: dict[Target, Manifest]) -> None:
    """Says what has been made, one line a split."""
    for folder, manifest in manifests.items():
        size = sum(shard.num_bytes for shard in manifest.shards)
        print(
            f"{folder}: {manifest.num_samples:,} images of {len(manifest.classes):,} classes in "
            f"{len(manifest.shards):,} {manifest.format} shards, {size / 1e6:,.1f} MB"
        )
        if manifest.num_quarantined:
            print(f"  {manifest.num_quarantined:,} could not be used: {folder}/{QUARANTINE} says which and why")
        if manifest.statistics is None and not manifest.is_index:
            how = "--statistics" if is_url(folder) else f"imagefeed stats {shlex.quote(str(folder))}"
            print(f"  no statistics of the pixels yet; to take them: {how}")

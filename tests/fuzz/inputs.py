"""Good inputs for all targets, made here: small photographs' stand-ins, converted by the real thing."""

from pathlib import Path

from pipeline import ConvertOptions, convert
from tests.fuzz.mutations import tar_spots
from tests.fuzz.targets import (
    JpegTarget,
    ManifestTarget,
    PillowTarget,
    ScanTarget,
    SplitTarget,
    TableTarget,
    Target,
    encoded,
    picture,
)


def all_targets(root: Path) -> list[Target]:
    """One of each, below `root`; a case takes them in turn."""
    images, out, raw = root / "images", root / "shards", root / "raw"
    for label in range(2):
        folder = images / "train" / f"class{label}"
        folder.mkdir(parents=True)
        for number in range(6):
            (folder / f"{number}.jpg").write_bytes(encoded(picture(10 * label + number, 96, 128), quality=90))
    convert(images, out, ConvertOptions(format="both", shard_size=6))
    convert(images, raw, ConvertOptions(format="beton", raw=True, shard_size=6))
    tar, beton, pixels = out / "tar" / "train", out / "beton" / "train", raw / "train"
    unchecked = {"verify": False}
    return [
        SplitTarget("tar", tar, "*.tar", spots=tar_spots),
        SplitTarget("tar, no hashes", tar, "*.tar", spots=tar_spots, options=unchecked, guarded=False),
        SplitTarget("beton", beton, "*.beton"),
        SplitTarget("beton, no hashes", beton, "*.beton", options=unchecked, guarded=False),
        SplitTarget("beton of raw pixels", pixels, "*.beton"),
        ManifestTarget("manifest", tar, "manifest.json"),
        SplitTarget("table", tar, "samples.parquet"),
        SplitTarget("table, forged", tar, "samples.parquet", forged=True, guarded=False),
        TableTarget("numbers of the table, forged", tar, "samples.parquet", forged=True, guarded=False),
        SplitTarget("mean image", tar, "mean_image.npy", options={"dtype": "float16"}),
        SplitTarget(
            "mean image, forged", tar, "mean_image.npy", options={"dtype": "float16"}, forged=True, guarded=False
        ),
        JpegTarget(),
        PillowTarget("image file in conversion"),
        ScanTarget("tar of a source", tar / "shard-00000.tar"),
    ]

"""Good inputs for all targets, made here: small photographs' stand-ins, converted by the real thing."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.dataset.manifest import MANIFEST, SAMPLES
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.image.stored import OTHER
from tests.fuzz.mutations import shard_spots, tar_spots
from tests.fuzz.options import OptionsTarget
from tests.fuzz.targets import (
    IndexTarget,
    JpegTarget,
    ManifestTarget,
    OwnJpegTarget,
    PillowTarget,
    ScanTarget,
    SplitTarget,
    TableTarget,
    Target,
)
from tests.support.pictures import encoded, noisy_picture


def all_targets(root: Path) -> list[Target]:
    """One of each, below `root`; a case takes them in turn. Indexes go below `root` too."""
    os.environ["IMAGEFEED_HOME"] = str(root / "home")
    images, out, raw = root / "images", root / "shards", root / "raw"
    for label in range(2):
        folder = images / "train" / f"class{label}"
        folder.mkdir(parents=True)
        for number in range(6):
            (folder / f"{number}.jpg").write_bytes(encoded(noisy_picture(10 * label + number, 96, 128), quality=90))
    convert(images, out, ConvertOptions(format="both", shard_size=6))
    convert(images, raw, ConvertOptions(format="beton", raw=True, shard_size=6))
    tar, beton, pixels = out / "tar" / "train", out / "beton" / "train", raw / "train"
    unknown = nothing_known(out / "tar" / "train", root / "unknown" / "train")
    unchecked = {"verify": False}
    return [
        SplitTarget("tar", tar, "*.tar", spots=tar_spots),
        SplitTarget("tar, no hashes", tar, "*.tar", spots=shard_spots, options=unchecked, guarded=False),
        SplitTarget(
            "tar, no hashes or sizes", unknown, "*.tar", spots=shard_spots, options={"recipe": "resnet"}, guarded=False
        ),
        SplitTarget("beton", beton, "*.beton"),
        SplitTarget("beton, no hashes", beton, "*.beton", options=unchecked, guarded=False),
        SplitTarget("beton of raw pixels", pixels, "*.beton"),
        IndexTarget(
            "tar of others", without_manifest(tar, root / "others-tar"), "*.tar", spots=tar_spots, guarded=False
        ),
        IndexTarget("beton of others", without_manifest(beton, root / "others-beton"), "*.beton", guarded=False),
        ManifestTarget("manifest", tar, "manifest.json"),
        SplitTarget("table", tar, "samples.parquet"),
        SplitTarget("table, forged", tar, "samples.parquet", forged=True, guarded=False),
        TableTarget("numbers of the table, forged", tar, "samples.parquet", forged=True, guarded=False),
        SplitTarget("mean image", tar, "mean_image.npy", options={"dtype": "float16"}),
        SplitTarget(
            "mean image, forged", tar, "mean_image.npy", options={"dtype": "float16"}, forged=True, guarded=False
        ),
        JpegTarget(),
        OwnJpegTarget("jpeg, our decoder"),
        PillowTarget("image file in conversion"),
        ScanTarget("tar of a source", tar / "shard-00000.tar"),
        OptionsTarget("options of a loader", root / "options"),
    ]


def without_manifest(split: Path, copy: Path) -> Path:
    """The shards of a split alone."""
    copy.mkdir()
    for shard in split.glob("shard-*"):
        shutil.copy(shard, copy)
    return copy


def nothing_known(split: Path, copy: Path) -> Path:
    """A copy of a split whose table knows neither sizes nor hashes, as that of other people's shards."""
    shutil.copytree(split, copy)
    table = pq.read_table(copy / SAMPLES)
    zeros = {name: np.zeros(len(table), np.int64) for name in ("height", "width", "xxh3")}
    zeros["kind"] = np.arange(len(table)) % 2 * OTHER  # the decoder's and Pillow's in turn
    for name, values in zeros.items():
        index = table.schema.get_field_index(name)
        field = table.schema.field(index)
        table = table.set_column(index, field, pa.array(values, field.type))
    pq.write_table(table, copy / SAMPLES)
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["files"][SAMPLES] = file_sha256(copy / SAMPLES)
    (copy / MANIFEST).write_text(json.dumps(manifest))
    return copy

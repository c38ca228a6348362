"""The same images in every layout that a source may have, drawn here or taken from what the caller has."""

import csv
import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagefeed.pipeline.sources.open_source import open_source
from imagefeed.pipeline.sources.reader import read_rows
from imagefeed.pipeline.synthetic.ilsvrc2012 import DEVKIT, DEVKIT_ROOT, SampleConfig, make_sample

SMALL = SampleConfig(num_classes=5, train_images_per_class=6, val_images_per_class=2, min_side=48, max_side=64)


class Image(NamedTuple):
    key: str
    label: int
    data: bytes


class Images(NamedTuple):
    """What all layouts hold."""

    folder: Path  # in the layout of the downloads
    wnids: list[str]
    words: list[str]
    splits: dict[str, list[Image]]  # sorted by key


def drawn(folder: Path) -> Images:
    make_sample(folder, SMALL)
    source = open_source(folder)
    splits = {}
    for split, table in source.splits.items():
        rows = zip(table["key"].to_pylist(), table["label"].to_pylist(), read_rows(source.root, table), strict=True)
        splits[split] = [Image(*row) for row in rows]
    return Images(folder, [each.wnid for each in source.classes], [each.words for each in source.classes], splits)


def archives(images: Images, out: Path) -> None:
    shutil.copytree(images.folder, out)


def unpacked(images: Images, out: Path) -> None:
    write_files(images, out)
    shutil.copy(images.folder / DEVKIT, out)


def unpacked_kit(images: Images, out: Path) -> None:
    write_files(images, out)
    with tarfile.open(images.folder / DEVKIT) as kit:
        kit.extractall(out, filter="data")
    assert (out / DEVKIT_ROOT).is_dir()


def kaggle(images: Images, out: Path) -> None:
    write_files(images, out / "ILSVRC" / "Data" / "CLS-LOC")
    (out / "ILSVRC" / "Data" / "CLS-LOC" / "test").mkdir()
    (out / "ILSVRC" / "Data" / "CLS-LOC" / "test" / "ILSVRC2012_test_00000001.JPEG").write_bytes(b"no label")
    lines = [f"{wnid} {words}\n" for wnid, words in zip(images.wnids, images.words, strict=True)]
    (out / "LOC_synset_mapping.txt").write_text("".join(lines))
    with open(out / "LOC_val_solution.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ImageId", "PredictionString"])
        for image in reversed(images.splits["val"]):  # Kaggle's own is in no order either
            wnid = images.wnids[image.label]
            writer.writerow([image.key, f"{wnid} 10 20 30 40 {wnid} 1 2 3 4 "])


def class_folders(images: Images, out: Path) -> None:
    for split, members in images.splits.items():
        for image in members:
            folder = out / split / images.wnids[image.label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{image.key}.JPEG").write_bytes(image.data)


def write_files(images: Images, out: Path) -> None:
    """train/<wnid>/ and all of val/ in one folder."""
    class_folders(images, out)
    for file in [*(out / "val").rglob("*.JPEG")]:
        file.rename(out / "val" / file.name)
    for folder in [*(out / "val").iterdir()]:
        if folder.is_dir():
            folder.rmdir()


def list_files(images: Images, out: Path) -> None:
    write_files(images, out / "images")
    (out / "classes.txt").write_text("".join(f"{a} {b}\n" for a, b in zip(images.wnids, images.words, strict=True)))
    for split, members in images.splits.items():
        found = {file.stem: file.relative_to(out) for file in (out / "images" / split).rglob("*.JPEG")}
        (out / f"{split}.txt").write_text("".join(f"{found[image.key]} {image.label}\n" for image in members))


def parquet_table(images: Images, members: list[Image]) -> pa.Table:
    """As `datasets` writes it, its own description among the metadata."""
    pictures = [{"bytes": image.data, "path": f"{image.key}.JPEG"} for image in members]
    described = {"info": {"features": {"label": {"names": images.words, "_type": "ClassLabel"}}}}
    table = pa.table({"image": pictures, "label": pa.array([image.label for image in members], pa.int64())})
    return table.replace_schema_metadata({"huggingface": str(described).replace("'", '"')})


def parquet(images: Images, out: Path) -> None:
    """Files whose order is not that of the keys, with pages of a few images, and a test split without labels."""
    (out / "data").mkdir(parents=True)
    for split, members in images.splits.items():
        order = np.random.default_rng(1).permutation(len(members)).tolist()
        for number, part in enumerate(np.array_split(order, 2)):
            table = parquet_table(images, [members[place] for place in part.tolist()])
            name = f"{'validation' if split == 'val' else split}-{number:05d}-of-00002.parquet"
            pq.write_table(table, out / "data" / name, row_group_size=7, data_page_size=4000, write_batch_size=1)
    nobody = parquet_table(images, [Image("x", -1, b"no label")])
    pq.write_table(nobody, out / "data" / "test-00000-of-00001.parquet")


def webdataset(images: Images, out: Path, label: str = "cls", suffix: str = "jpg") -> None:
    out.mkdir(parents=True)
    (out / "classes.txt").write_text("".join(f"{a} {b}\n" for a, b in zip(images.wnids, images.words, strict=True)))
    for split, members in images.splits.items():
        for number in range(2):
            with tarfile.open(out / f"imagenet-{split}-{number:04d}.tar", "w") as tar:
                for image in members[number::2]:
                    add(tar, f"{image.key}.{suffix}", image.data)
                    text = f'{{"label": {image.label}, "caption": ""}}' if label == "json" else f"{image.label}"
                    add(tar, f"{image.key}.{label}", text.encode())


def webdataset_json(images: Images, out: Path) -> None:
    webdataset(images, out, "json", "jpeg")


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


LAYOUTS: dict[str, Callable[[Images, Path], None]] = {
    each.__name__: each
    for each in (
        archives,
        unpacked,
        unpacked_kit,
        kaggle,
        class_folders,
        list_files,
        parquet,
        webdataset,
        webdataset_json,
    )
}

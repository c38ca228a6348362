"""Writes the small datasets of this folder with the packages that people use, and what was put into each.

    python -m venv /tmp/writers
    /tmp/writers/bin/pip install datasets==5.2.0 litdata==0.2.76 mosaicml-streaming==0.13.0 tensorflow-cpu==2.21.0 \
        megatron-energon==7.4.1 pillow numpy
    /tmp/writers/bin/python tests/sources/recorded/make.py

`expected.json` says for each dataset which package wrote it, its classes, and for each split, in the order of writing,
the name of the class and the SHA-256 of the RGB pixels; `refused` stands for what is not read. Images are drawn here.
"""

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
NAMES = ("cat", "dog", "emu")
COUNTS = {"train": 7, "validation": 4}
Sample = tuple[Image.Image, int]
Splits = Mapping[str, Sequence[tuple[Image.Image | bytes, int]]]
Expected = dict[str, Any]


def samples(split: str, mode: str = "RGB") -> list[Sample]:
    """Images of several sizes, and their labels."""
    rng = np.random.default_rng(sorted(COUNTS).index(split))
    found = []
    for number in range(COUNTS[split]):
        noise = rng.integers(0, 256, (2, 3, 3), dtype=np.uint8)
        image = Image.fromarray(noise).resize((11 + number, 9 + number % 3), Image.Resampling.BILINEAR)
        found.append((image.convert(mode), number % 3))
    return found


def encoded(image: Image.Image, format: str) -> bytes:
    """An image file."""
    stream = io.BytesIO()
    image.save(stream, format)
    return stream.getvalue()


def expected(writer: str, splits: Splits, names: Any = NAMES) -> Expected:
    """What a reader must find."""
    said = {}
    for split, found in splits.items():
        rows = []
        for image, label in found:
            opened = Image.open(io.BytesIO(image)) if isinstance(image, bytes) else image
            rows.append([names[label], hashlib.sha256(opened.convert("RGB").tobytes()).hexdigest()])
        said[split] = rows
    return {"writer": f"{writer} {version(writer)}", "classes": list(names), "splits": said}


def refused(writer: str, message: str, options: dict[str, Any] | None = None) -> Expected:
    """What a reader must say."""
    return {"writer": f"{writer} {version(writer)}", "refused": message, "options": options or {}}


def arrow(out: Path) -> Expected:
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
    from datasets import Image as ImageColumn

    kinds = Features({"caption": Value("string"), "image": ImageColumn(), "label": ClassLabel(names=list(NAMES))})
    made = {}
    for split in COUNTS:
        found = samples(split)
        captions = [f"number {number} of {split}" for number in range(len(found))]
        columns = {"caption": captions, "image": [i for i, _ in found], "label": [label for _, label in found]}
        made[split] = Dataset.from_dict(columns, features=kinds)
    DatasetDict(made).save_to_disk(out, num_shards={"train": 2, "validation": 1})
    return expected("datasets", {split: samples(split) for split in COUNTS})


def arrow_filtered(out: Path) -> Expected:
    """A folder in which `filter` and `map` have left their results, and whose images have names."""
    from datasets import Dataset, Features, Value, load_from_disk
    from datasets import Image as ImageColumn

    found = [(encoded(image, "JPEG"), label) for image, label in samples("train")]
    images = [{"bytes": data, "path": f"photo-{number}.jpg"} for number, (data, _) in enumerate(found)]
    kinds = Features({"image": ImageColumn(), "label": Value("string")})
    columns = {"image": images, "label": [NAMES[label] for _, label in found]}
    Dataset.from_dict(columns, features=kinds).save_to_disk(out)
    dataset = load_from_disk(out)
    dataset.filter(lambda label: label == "cat", input_columns="label")
    dataset.map(lambda row: {"label": "x"})
    return expected("datasets", {"train": found})


def mds(out: Path, encoding: str, convert: Callable[[Image.Image], Any], mode: str = "RGB", **options: Any) -> Expected:
    from streaming import MDSWriter

    kinds = {"i": "int", "x": encoding, "y": "int16", "word": "str", "score": "float32"}
    splits: dict[str, list[tuple[Any, int]]] = {}
    for split in COUNTS:
        rows: list[tuple[Any, int]] = [(convert(image), label) for image, label in samples(split, mode)]
        with MDSWriter(out=str(out / split), columns=kinds, size_limit=2000, **options) as writer:
            for number, (image, label) in enumerate(rows):
                writer.write({"i": number, "x": image, "y": label, "word": NAMES[label], "score": number / 2})
        splits[split] = rows
    found = expected("mosaicml-streaming", splits, [str(label) for label in range(3)])
    return found | {"options": {"label": "y"}}


def litdata(out: Path, rows: dict[str, list[Any]], **options: Any) -> None:
    from litdata.streaming import Cache

    for split, found in rows.items():
        cache = Cache(str(out / split), chunk_size=3, **options)
        for number, row in enumerate(found):
            cache[number] = row
        cache.done()
        cache.merge()


def litdata_pil(out: Path) -> Expected:
    found = {split: samples(split) for split in COUNTS}
    litdata(out, {s: [{"image": i, "label": label, "score": 0.5} for i, label in rows] for s, rows in found.items()})
    return expected("litdata", found, "012")


def litdata_grey(out: Path) -> Expected:
    found = {split: samples(split, "L") for split in COUNTS}
    litdata(out, {s: [{"image": i, "label": NAMES[label]} for i, label in rows] for s, rows in found.items()})
    return expected("litdata", found)


def litdata_jpeg(out: Path) -> Expected:
    found = {s: [(encoded(image, "JPEG"), label) for image, label in samples(s)] for s in COUNTS}
    rows: dict[str, list[Any]] = {split: [] for split in found}
    files = out.with_name("files")
    files.mkdir()
    for split, images in found.items():
        for number, (data, label) in enumerate(images):
            path = files / f"{split}-{number}.jpg"
            path.write_bytes(data)
            rows[split].append((Image.open(path), label))
    litdata(out, rows)
    shutil.rmtree(files)
    return expected("litdata", found, "012") | {"options": {"label": "1"}}


def litdata_rows(out: Path) -> Expected:
    """Bytes, numbers and text alone: rows of Arrow behind an empty table."""
    found = {s: [(encoded(image, "PNG"), label) for image, label in samples(s)] for s in COUNTS}
    litdata(out, {s: [{"image": i, "label": label, "caption": "x"} for i, label in rows] for s, rows in found.items()})
    return expected("litdata", found, "012")


def litdata_pickled(out: Path) -> Expected:
    rows = {"train": [{"image": image, "label": {label}} for image, label in samples("train")]}
    litdata(out, rows)
    return refused("litdata", r"train/chunk-0-0\.bin: the field label is pickled, and never read.* write it as int")


def litdata_palette(out: Path) -> Expected:
    rows = {"train": [{"image": image.convert("P"), "label": label} for image, label in samples("train")]}
    litdata(out, rows)
    return refused("litdata", r"train/chunk-0-0\.bin: sample 0 is an image of mode 'P'.*image\.convert\('RGB'\)")


def litdata_zstd(out: Path) -> Expected:
    rows = {"train": [{"image": image, "label": label} for image, label in samples("train")]}
    litdata(out, rows, compression="zstd")
    return refused("litdata", r"train/index\.json says compression zstd.* which is not read: write it again")


def feature(value: Any) -> Any:
    """A feature of TFRecord, of one value or of several of a list."""
    import tensorflow as tf

    values = value if isinstance(value, list) else [value]
    if values and isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if values and isinstance(values[0], int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def example(kind: str, split: str, number: int, data: bytes, label: int) -> bytes:
    """A record."""
    import tensorflow as tf

    values: dict[str, Any] = {"image": data, "label": NAMES[label].encode() if kind == "text" else label}
    if kind == "imagenet":  # as TensorFlow's script build_imagenet_data.py: classes count from 1
        values = {
            "image/channels": 3,
            "image/class/label": label + 1,
            "image/class/text": f"{NAMES[label]}, of many words ".encode() * 20,
            "image/colorspace": b"RGB",
            "image/encoded": data,
            "image/filename": f"{split}-{number}.JPEG".encode(),
            "image/object/bbox/label": [label + 1] * (number % 3),
            "image/object/bbox/xmin": [0.25] * (number % 3),
            "score": number / 2,
        }
    features = tf.train.Features(feature={name: feature(value) for name, value in values.items()})
    if kind == "sequence":
        return tf.train.SequenceExample(context=features).SerializeToString() + b"\x12\0"
    return tf.train.Example(features=features).SerializeToString()


def tfrecord(out: Path, kind: str) -> Expected:
    import tensorflow as tf

    out.mkdir()
    splits: dict[str, list[tuple[bytes, int]]] = {}
    for split in COUNTS:
        splits[split] = [(encoded(image, "PNG"), label) for image, label in samples(split)]
        for shard, part in enumerate((splits[split][:3], splits[split][3:])):
            name = {
                "imagenet": f"{split}-{shard:05d}-of-00002",
                "tfds": f"pets-{split}.tfrecord-{shard:05d}-of-00002",
            }.get(kind, f"{split}-{shard}.tfrecord")
            options = tf.io.TFRecordOptions(compression_type="GZIP" if kind == "gzip" else "")
            with tf.io.TFRecordWriter(str(out / name), options=options) as writer:
                for number, (data, label) in enumerate(part):
                    writer.write(example(kind, split, number, data, label))
    if kind == "gzip":
        return refused("tensorflow_cpu", r"train-0\.tfrecord is compressed as a whole.* decompress it")
    if kind == "sequence":
        return refused("tensorflow_cpu", r"train-0\.tfrecord: record 0 is no tf\.train\.Example: write it as one")
    if kind == "imagenet":
        return expected("tensorflow_cpu", splits, "012") | {"options": {"first_label": 1}}
    if kind == "tfds":
        (out / "label.labels.txt").write_text("".join(f"{name}\n" for name in NAMES))
    return expected("tensorflow_cpu", splits)


def zipped(method: int, **options: Any) -> Callable[[Path], Expected]:
    """Archives of one folder, with what other programs leave in them."""

    def write(out: Path) -> Expected:
        out.mkdir()
        splits: dict[str, list[tuple[bytes, int]]] = {}
        for split in COUNTS:
            found = [(encoded(image, "PNG"), label) for image, label in samples(split)]
            with zipfile.ZipFile(out / f"{split}.zip", "w", method) as archive:
                archive.mkdir("photos")
                archive.writestr("__MACOSX/photos/cat/._0.png", b"no image")
                for label, name in enumerate(NAMES):
                    archive.mkdir(f"photos/{name}")
                    for number, (data, its) in enumerate(found):
                        if its == label:
                            with archive.open(zipfile.ZipInfo(f"photos/{name}/{number}.png"), "w", **options) as file:
                                file.write(data)
                archive.writestr("photos/README.md", b"x" * 99)
            splits[split] = [row for label in range(3) for row in found if row[1] == label]
        return expected("pillow", splits) | {"writer": f"zipfile, Python {sys.version.split()[0]}"}

    return write


def zip_encrypted(out: Path) -> Expected:
    out.mkdir()
    image = out / "cat"
    image.mkdir()
    (image / "1.png").write_bytes(encoded(samples("train")[0][0], "PNG"))
    subprocess.run(["zip", "-q", "-r", "-P", "secret", "a.zip", "cat"], cwd=out, check=True)
    shutil.rmtree(image)
    message = r"a\.zip: the member cat/1\.png is encrypted: unzip the archive"
    return {"writer": "Info-ZIP 3.0", "refused": message, "options": {}}


def energon(out: Path) -> Expected:
    """Tars whose names do not tell their split; Energon's `prepare` writes it into `.nv-meta`."""
    from megatron.energon.epathlib import EPath
    from megatron.energon.flavors.webdataset.prepare import WebdatasetPreparator

    splits: dict[str, list[tuple[bytes, int]]] = {}
    shard = 0
    for split in COUNTS:
        splits[split] = [(encoded(image, "PNG"), label) for image, label in samples(split)]
        (out / "parts").mkdir(parents=True, exist_ok=True)
        for part in (splits[split][:3], splits[split][3:]):
            with tarfile.open(out / f"shard_{shard:03d}.tar", "w") as tar:
                for number, (data, label) in enumerate(part):
                    for suffix, content in (("png", data), ("cls", str(label).encode())):
                        member = tarfile.TarInfo(f"{shard}-{number}.{suffix}")
                        member.size = len(content)
                        tar.addfile(member, io.BytesIO(content))
            shard += 1
    (out / "parts").rmdir()
    patterns = [("train", "shard_00[01].tar"), ("val", "shard_00[23].tar")]
    WebdatasetPreparator.prepare_dataset(
        EPath(out), [f"shard_{number:03d}.tar" for number in range(4)], split_parts_patterns=patterns, workers=1
    )
    for file in (out / ".nv-meta").glob("index.*"):
        file.unlink()
    for file in out.glob("*.idx"):
        file.unlink()
    return expected("megatron-energon", splits, "012")


WRITERS: dict[str, Callable[[Path], Expected]] = {
    "arrow": arrow,
    "arrow_filtered": arrow_filtered,
    "mds_pil": lambda out: mds(out, "pil", lambda image: image),
    "mds_grey": lambda out: mds(out, "pil", lambda image: image, "L"),
    "mds_png": lambda out: mds(out, "png", lambda image: encoded(image, "PNG"), hashes=["sha1"]),
    "mds_jpeg": lambda out: mds(out, "jpeg", lambda image: encoded(image, "JPEG")),
    "mds_bytes": lambda out: mds(out, "bytes", lambda image: encoded(image, "PNG")),
    "mds_zstd": lambda out: (
        mds(out, "pil", lambda image: image, compression="zstd")
        and refused("mosaicml-streaming", r"shard\.00000\.mds\.zstd is compressed.*\(zstd -d", {"label": "y"})
    ),
    "litdata_pil": litdata_pil,
    "litdata_grey": litdata_grey,
    "litdata_jpeg": litdata_jpeg,
    "litdata_rows": litdata_rows,
    "litdata_pickled": litdata_pickled,
    "litdata_palette": litdata_palette,
    "litdata_zstd": litdata_zstd,
    **{f"tfrecord_{kind}": partial(tfrecord, kind=kind) for kind in ("imagenet", "tfds", "text", "gzip", "sequence")},
    "zip_stored": zipped(zipfile.ZIP_STORED),
    "zip_deflated": zipped(zipfile.ZIP_DEFLATED),
    "zip_64": zipped(zipfile.ZIP_STORED, force_zip64=True),
    "zip_encrypted": zip_encrypted,
    "energon": energon,
}


def main() -> None:
    """All of them, or those that are named."""
    file = HERE / "expected.json"
    found = json.loads(file.read_text()) if file.exists() else {}
    for name in sys.argv[1:] or WRITERS:
        shutil.rmtree(HERE / name, ignore_errors=True)
        found[name] = WRITERS[name](HERE / name)
        print(name)
    text = json.dumps(dict(sorted(found.items())), indent=1)
    rows = re.sub(r"\[\s+(\"\w+\"),\s+(\"\w{64}\")\s+\]", r"[\1, \2]", text)
    file.write_text(rows + "\n")


if __name__ == "__main__":
    main()

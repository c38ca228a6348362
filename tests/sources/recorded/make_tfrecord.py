"""The part of `make.py` that TensorFlow writes, in a process of its own: `make_tfrecord.py KIND OUT`."""

import json
import sys
from pathlib import Path
from typing import Any

import tensorflow as tf  # type: ignore[import-not-found]
from make import COUNTS, NAMES, encoded, expected, refused, samples  # type: ignore[import-not-found]


def feature(value: Any) -> Any:
    """A feature of one value, or of several of a list."""
    values = value if isinstance(value, list) else [value]
    if values and isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if values and isinstance(values[0], int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def example(kind: str, split: str, number: int, data: bytes, label: int) -> bytes:
    """A record."""
    if kind == "imagenet":  # as TensorFlow's script build_imagenet_data.py: classes count from 1
        values: dict[str, Any] = {
            "image/channels": 3,
            "image/class/label": label + 1,
            "image/class/text": f"{NAMES[label]}, of many words " * 20,
            "image/colorspace": b"RGB",
            "image/encoded": data,
            "image/filename": f"{split}-{number}.JPEG".encode(),
            "image/object/bbox/label": [label + 1] * (number % 3),
            "image/object/bbox/xmin": [0.25] * (number % 3),
            "score": number / 2,
        }
        values["image/class/text"] = values["image/class/text"].encode()
    else:
        values = {"image": data, "label": NAMES[label].encode() if kind == "text" else label}
    features = {name: feature(value) for name, value in values.items()}
    if kind == "sequence":
        return tf.train.SequenceExample(context=tf.train.Features(feature=features)).SerializeToString() + b"\x12\0"
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def main(kind: str, out: Path) -> None:
    """Writes the dataset and prints what was put in."""
    out.mkdir()
    splits = {}
    for split in COUNTS:
        found = [(encoded(image, "PNG"), label) for image, label in samples(split)]
        splits[split] = found
        for shard, part in enumerate((found[:3], found[3:])):
            name = {
                "imagenet": f"{split}-{shard:05d}-of-00002",
                "tfds": f"pets-{split}.tfrecord-{shard:05d}-of-00002",
            }.get(kind, f"{split}-{shard}.tfrecord")
            options = tf.io.TFRecordOptions(compression_type="GZIP" if kind == "gzip" else "")
            with tf.io.TFRecordWriter(str(out / name), options=options) as writer:
                for number, (data, label) in enumerate(part):
                    writer.write(example(kind, split, number, data, label))
    said = expected("tensorflow_cpu", splits)
    if kind == "imagenet":
        said = expected("tensorflow_cpu", splits, "012") | {"options": {"first_label": 1}}
    if kind == "tfds":
        (out / "label.labels.txt").write_text("".join(f"{name}\n" for name in NAMES))
    if kind == "gzip":
        said = refused("tensorflow_cpu", r"train-0\.tfrecord is compressed as a whole.* decompress it")
    if kind == "sequence":
        said = refused("tensorflow_cpu", r"train-0\.tfrecord: record 0 is no tf\.train\.Example: write it as one")
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

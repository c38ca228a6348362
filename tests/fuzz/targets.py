"""What is spoilt, and what reading it must give: for each target a good input, its mutations and its law."""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from imagefeed.pipeline.dataset.manifest import MANIFEST
from imagefeed.pipeline.files.paths import indexes
from imagefeed.pipeline.formats.tar import scan
from imagefeed.pipeline.image.decoder import Decoder, decode, examine
from imagefeed.pipeline.image.jpeg.decoder import DecodeScratch, new_scratch
from imagefeed.pipeline.image.pillow import BadImage, load_square
from imagefeed.pipeline.image.turbojpeg import CORRUPT, OK, decode_rgb
from imagefeed.pipeline.loader.dataset import open_dataset
from imagefeed.pipeline.loader.loader import Loader
from tests.fuzz.guarded import Guarded
from tests.fuzz.mutations import Edit, Original, Spot, applied, hostile, jpeg_spots, mutate, tar_spots
from tests.fuzz.spoiling import Files, replacing
from tests.support.pictures import encoded, noisy_picture

Row = tuple[int, int, bytes]  # sample id, label, pixels
Spots = Callable[[bytes], Sequence[Spot]]

SAME, ERROR, CHANGED = "same", "error", "changed"  # the good outcomes; CHANGED only where nothing could tell
WRONG, UNNAMED = "WRONG", "UNNAMED"  # other pixels or rows without an error; an error that names no file or no cure


class Target(Protocol):
    """One kind of input. `run` spoils it once and returns (mutation, outcome, message)."""

    name: str

    def warm_up(self) -> None:
        """Compiles and reads what all cases need."""
        ...

    def restore(self) -> None:
        """Makes its files whole again after a case that died."""
        ...

    def run(self, rng: np.random.Generator) -> tuple[str, str, str]: ...


WHOLE: dict[str, Any] = {
    "recipe": "eval",
    "crop_size": 256,
    "dtype": "uint8",
    "layout": "NHWC",
    "batch_size": 5,
    "num_threads": 2,
}


def rows_of(loader: Loader) -> list[Row]:
    """One epoch."""
    return [
        (int(batch.sample_ids[i]), int(batch.labels[i]), batch.images[i].view(torch.uint8).numpy().tobytes())
        for batch in loader
        for i in batch.valid.nonzero().flatten().tolist()
    ]


def judged(read: Callable[[], Any], expected: Any, named: Sequence[str], guarded: bool) -> tuple[str, str]:
    """(outcome, message) of reading spoilt input. An error must have one of the texts of `named` in it."""
    try:
        found = read()
    except (ValueError, OSError, BadImage) as error:
        text = f"{type(error).__name__}: {error}"
        return (ERROR if any(name in text for name in named) else UNNAMED), text
    except Exception as error:  # whatever it is, it is a finding
        return UNNAMED, f"{type(error).__name__}: {error}"
    if found == expected:
        return SAME, ""
    return (WRONG if guarded else CHANGED), ""


@dataclass
class SplitTarget:
    """A split of our own: some of its files are spoilt, all of it is read."""

    name: str
    split: Path
    spoilt: str  # which files, a pattern
    guarded: bool = True  # whether every change must be noticed
    forged: bool = False  # the manifest gets the new hash of the spoilt file, as a forger would have it
    spots: Spots = lambda data: ()
    options: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def files(self) -> Files:
        return Files(self.split)

    @cached_property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.split.glob(self.spoilt))

    @cached_property
    def originals(self) -> dict[str, Original]:
        contents = {name: self.files.content[name] for name in self.names}
        return {name: Original(data, self.spots(data)) for name, data in contents.items()}

    @cached_property
    def rows(self) -> list[Row]:
        return self.read()

    def loader(self) -> Loader:
        """Gives every stored image whole, unless the options say otherwise."""
        return open_dataset(self.split).loader(**WHOLE | self.options)

    def read(self) -> list[Row]:
        return rows_of(self.loader())

    def warm_up(self) -> None:
        _ = self.files, self.originals, self.rows

    def restore(self) -> None:
        self.files.restore()

    def run(self, rng: np.random.Generator) -> tuple[str, str, str]:
        name = self.names[rng.integers(len(self.names))]
        kind, edit = self.change(rng, name)
        edits = {name: edit}
        if self.forged and name != MANIFEST:
            manifest = json.loads(self.files.content[MANIFEST])
            manifest["files"][name] = hashlib.sha256(applied(self.files.content[name], edit)).hexdigest()
            edits[MANIFEST] = replacing(json.dumps(manifest).encode())
        named = [str(self.split)]
        if rng.random() < 0.2 and not self.forged and name != MANIFEST:  # under a loader that has read it before
            loader = self.loader()
            rows_of(loader)
            with self.files.spoilt(edits):
                return f"{kind}, late", *judged(lambda: rows_of(loader), self.rows, named, self.guarded)
        with self.files.spoilt(edits):
            return kind, *judged(self.read, self.rows, named, self.guarded)

    def change(self, rng: np.random.Generator, name: str) -> tuple[str, Edit]:
        return mutate(rng, self.originals[name])


class IndexTarget(SplitTarget):
    """Shards as others make them, in a folder without a manifest: indexed and read, without a hash of anything."""

    def read(self) -> list[Row]:
        try:
            return super().read()
        finally:
            shutil.rmtree(indexes(), ignore_errors=True)  # each case is another index


class TableTarget(SplitTarget):
    """Numbers of `samples.parquet`, under a forged hash."""

    def change(self, rng: np.random.Generator, name: str) -> tuple[str, Edit]:
        table = pq.read_table(io.BytesIO(self.files.content[name]))
        if rng.random() < 0.2:
            kind, changed = "rows", table.take(rng.integers(0, len(table), rng.integers(0, 2 * len(table))))
        elif rng.random() < 0.2:
            kind, changed = "columns", table.select(rng.permutation(table.column_names)[: rng.integers(1, 10)].tolist())
        else:
            index = int(rng.integers(len(table.column_names)))
            kind, changed = table.column_names[index], self.with_number(rng, table, index)
        out = io.BytesIO()
        pq.write_table(changed, out)
        return kind, replacing(out.getvalue())

    def with_number(self, rng: np.random.Generator, table: pa.Table, index: int) -> pa.Table:
        values, kind = table.column(index).to_pylist(), table.schema.types[index]
        row = int(rng.integers(len(values)))
        if pa.types.is_integer(kind):
            shard = self.files.content["shard-00000.tar"]
            limits = np.iinfo(kind.to_pandas_dtype())
            values[row] = min(max(hostile(rng, len(shard)), int(limits.min)), int(limits.max))
            if rng.random() < 0.3:
                values[row] = int(rng.choice(values))
        else:
            values[row] = rng.choice(["", "\0", "x" * 5000, "../../etc", "n\n", values[0]]).item()
        field = table.schema.field(index)
        return table.set_column(index, field, pa.array(values, kind))


class ManifestTarget(SplitTarget):
    """Values of `manifest.json`."""

    VALUES: tuple[Any, ...] = (
        None, -1, 0, 1, 2**31, 2**63, 2**70, 1.5, 1e308, float("nan"), "", "..", "/etc/passwd", "../x", "\0", True, [],
        {}, [[]], {"a": 1}, "x" * 10000,
    )  # fmt: skip

    def change(self, rng: np.random.Generator, name: str) -> tuple[str, Edit]:
        if rng.random() < 0.4:
            return super().change(rng, name)
        record = json.loads(self.files.content[name])
        parent, key = _inside(rng, record)
        kind = str(rng.choice(["value", "delete", "twice", "nest"]))
        if kind == "value":
            parent[key] = self.VALUES[rng.integers(len(self.VALUES))]
        elif kind == "delete":
            del parent[key]
        elif kind == "twice":
            target, where = _inside(rng, record)
            target[where] = parent[key]
        else:
            text = json.dumps(record).replace(json.dumps(parent[key]), 100_000 * "[" + 100_000 * "]", 1)
            return kind, replacing(text.encode())
        try:
            return kind, replacing(json.dumps(record).encode())
        except ValueError:  # the record would hold itself
            return "empty", replacing(b"")


def _inside(rng: np.random.Generator, record: Any) -> tuple[Any, Any]:
    """A random container in parsed JSON and a key or index of it."""
    while True:
        keys = list(record) if isinstance(record, dict) else list(range(len(record)))
        key = keys[rng.integers(len(keys))]
        below = record[key]
        if not isinstance(below, dict | list) or not below or rng.random() < 0.3:
            return record, key
        record = below


class JpegTarget:
    """The decoder itself, without hashes: input and output lie against pages that may not be touched."""

    def __init__(self, name: str = "jpeg") -> None:
        self.name = name

    @cached_property
    def images(self) -> list[tuple[Original, np.ndarray]]:
        return [(Original(data, jpeg_spots(data)), pixels) for data, pixels in good_jpegs()]

    @cached_property
    def places(self) -> tuple[Guarded, Guarded]:
        return Guarded(1 << 20), Guarded(1 << 20)

    def warm_up(self) -> None:
        for image, pixels in self.images:
            found = self.decode(image.data, pixels.shape)
            assert found is not None and np.array_equal(found, pixels)

    def restore(self) -> None: ...

    def decode(self, data: bytes, shape: tuple[int, ...]) -> np.ndarray | None:
        """What the loader's decoder makes of `data` for an image of `shape`; None where it refuses."""
        source, out = self.places
        image = out.last(int(np.prod(shape))).reshape(shape)
        return image if decode_rgb(source.holding(data), image) == OK else None

    def run(self, rng: np.random.Generator) -> tuple[str, str, str]:
        image, pixels = self.images[rng.integers(len(self.images))]
        kind, edit = mutate(rng, image)
        spoilt = applied(image.data, edit)
        if not spoilt:
            return kind, SAME, ""
        return kind, *self.judged(spoilt, pixels)

    def judged(self, spoilt: bytes, pixels: np.ndarray) -> tuple[str, str]:
        """Outcome and message."""
        found = self.decode(spoilt, pixels.shape)
        if found is None:
            return ERROR, ""
        return SAME if np.array_equal(found, pixels) else CHANGED, ""


class OwnJpegTarget(JpegTarget):
    """Our own decoder, which asks libjpeg-turbo where it refuses: it must always come to what libjpeg-turbo says."""

    @cached_property
    def space(self) -> DecodeScratch:
        return new_scratch(1 << 16)

    def judged(self, spoilt: bytes, pixels: np.ndarray) -> tuple[str, str]:
        theirs, found = self.decode_by(False, spoilt, pixels.shape), self.decode_by(True, spoilt, pixels.shape)
        if found is None or theirs is None:
            return ERROR if found is theirs else WRONG, f"ours {found is not None}, theirs {theirs is not None}"
        if not np.array_equal(found, theirs):
            return WRONG, "not what libjpeg-turbo says"
        return SAME if np.array_equal(found, pixels) else CHANGED, ""

    def decode_by(self, own: bool, data: bytes, shape: tuple[int, ...]) -> np.ndarray | None:
        """What a decoder makes of `data` for an image of `shape`; None where it refuses."""
        source, out = self.places
        payload, image = source.holding(data), out.last(int(np.prod(shape))).reshape(shape)
        decoder = Decoder(own, self.space)
        found = examine(decoder, payload)
        state = CORRUPT
        if found.state == OK and (found.height, found.width) == shape[:2]:
            state = decode(decoder, found, payload, image)
        return image.copy() if state == OK else None


class PillowTarget(JpegTarget):
    """The same images and other formats through the codec of conversion: an image, or `BadImage`."""

    @cached_property
    def images(self) -> list[tuple[Original, np.ndarray]]:
        others = [
            encoded(noisy_picture(i, 40, 56), kind) for i, kind in enumerate(("PNG", "WEBP", "BMP", "GIF", "TIFF"))
        ]
        files = [Original(data, jpeg_spots(data)) for data, _ in good_jpegs()] + [Original(data) for data in others]
        return [(file, load_square(file.data)) for file in files]

    def warm_up(self) -> None:
        _ = self.images

    def run(self, rng: np.random.Generator) -> tuple[str, str, str]:
        image, pixels = self.images[rng.integers(len(self.images))]
        kind, edit = mutate(rng, image)
        read = lambda: load_square(applied(image.data, edit)).tobytes()
        return kind, *judged(read, pixels.tobytes(), ["BadImage"], guarded=False)


class ScanTarget:
    """The headers of a tar, as the listing of a source reads them."""

    def __init__(self, name: str, tar: Path) -> None:
        self.name, self.tar = name, tar

    @cached_property
    def original(self) -> Original:
        data = self.tar.read_bytes()
        return Original(data, tar_spots(data))

    @cached_property
    def members(self) -> list[Any]:
        return self.scan(self.original.data)

    def warm_up(self) -> None:
        _ = self.members

    def restore(self) -> None: ...

    def scan(self, data: bytes) -> list[Any]:
        file = os.memfd_create("tar")
        try:
            os.write(file, data)
            return list(scan(file, 0, len(data), str(self.tar)))
        finally:
            os.close(file)

    def run(self, rng: np.random.Generator) -> tuple[str, str, str]:
        kind, edit = mutate(rng, self.original)
        spoilt = applied(self.original.data, edit)
        return kind, *judged(lambda: self.scan(spoilt), self.members, [str(self.tar)], guarded=False)


def good_jpegs() -> list[tuple[bytes, np.ndarray]]:
    """Small JPEGs of every kind that the decoder meets, with their pixels."""
    options: list[dict[str, Any]] = [
        {"subsampling": "4:2:0"},
        {"subsampling": "4:4:4", "optimize": True},
        {"subsampling": "4:2:2", "progressive": True},
        {"subsampling": "4:2:0", "restart_marker_rows": 1},
        {"quality": 30, "comment": b"x" * 300},
    ]
    shapes = [(64, 64), (33, 47), (48, 40), (80, 64), (1, 1)]
    images = [
        encoded(noisy_picture(i, *shape), **option)
        for i, (shape, option) in enumerate(zip(shapes, options, strict=True))
    ]
    images.append(encoded(noisy_picture(9, 30, 50)[:, :, 0]))  # grey
    return [(data, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))) for data in images]

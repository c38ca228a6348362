"""Betons that FFCV itself writes are listed as FFCV reads them, and what it would believe unread is an error."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefeed.pipeline.formats.beton import ALLOCATION, FIELD, HEADER, SAMPLE, BetonWriter, list_samples
from imagefeed.pipeline.formats.listing import Listing
from imagefeed.pipeline.image.pillow import load_rgb
from imagefeed.pipeline.image.stored import JPEG, RAW
from tests.conftest import encoded, picture

MODES = ["jpg", "raw", "proportion", "smart", "fields"]

WRITE = """
import sys, numpy as np
from ffcv.writer import DatasetWriter
from ffcv.reader import Reader
from ffcv.fields import BytesField, FloatField, IntField, JSONField, RGBImageField

rng = np.random.default_rng(0)
images = [rng.integers(0, 256, (20 + i, 30 - i, 3), dtype=np.uint8) for i in range(12)]

class Samples:
    def __init__(self, mode): self.mode = mode
    def __len__(self): return len(images)
    def __getitem__(self, i):
        if self.mode != "fields": return images[i], i % 5
        return np.zeros(3 * (i % 2), np.uint8), 0.5, images[i], {"i": int(i)}, i % 5, 99 - i

for mode in sys.argv[2:]:
    image = RGBImageField(write_mode="proportion" if mode == "fields" else mode, smart_threshold=1840)
    fields = {"image": image, "label": IntField()}
    if mode == "fields":
        fields = {"bytes": BytesField(), "float": FloatField(), "pixels": image, "json": JSONField()}
        fields |= {"label": IntField(), "other": IntField()}
    np.random.seed(0)
    out = sys.argv[1] + "/" + mode + ".beton"
    DatasetWriter(out, fields, num_workers=2, page_size=1 << 21).from_indexed_dataset(Samples(mode), chunksize=4)
    reader = Reader(out)
    image = reader.metadata["f%d" % reader.field_names.index("pixels" if mode == "fields" else "image")]
    sizes = {int(row["ptr"]): int(row["size"]) for row in reader.alloc_table if row["size"]}
    np.savez(out + ".npz", *images, offset=image["data_ptr"], size=[sizes[at] for at in image["data_ptr"].tolist()])
"""


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a beton in each of FFCV's modes, and beside it its images and where FFCV's reader finds them."""
    folder = tmp_path_factory.mktemp("stock")
    # In a process of its own: the stock writer forks, and waits for ever if that goes wrong.
    subprocess.run([sys.executable, "-c", WRITE, folder, *MODES], check=True, timeout=120, capture_output=True)
    return folder


def listed(data: bytes) -> Listing:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return list_samples(file.fileno(), len(data), "it.beton")


@pytest.mark.parametrize("mode", MODES)
def test_what_ffcv_writes_is_read(stock: Path, mode: str) -> None:
    data, theirs = (stock / f"{mode}.beton").read_bytes(), np.load(stock / f"{mode}.beton.npz")
    found = listed(data)
    assert found.key.to_pylist() == [str(i) for i in range(12)]
    assert found.label.tolist() == [i % 5 for i in range(12)]
    assert found.classes is None
    assert set(found.kind.tolist()) == {"jpg": {JPEG}, "raw": {RAW}}.get(mode, {JPEG, RAW})
    assert found.offset.tolist() == theirs["offset"].tolist() and found.size.tolist() == theirs["size"].tolist()
    for i in range(12):
        image = theirs[f"arr_{i}"]
        assert (found.height[i], found.width[i]) == image.shape[:2]
        payload = data[found.offset[i] : found.offset[i] + found.size[i]]
        if found.kind[i] == RAW:
            assert payload == image.tobytes()
        else:
            assert load_rgb(payload).shape == image.shape
            assert np.abs(load_rgb(payload).mean() - image.mean()) < 2


def ours(tmp_path: Path, count: int = 6, encoding: str = "raw") -> bytes:
    path = tmp_path / "ours.beton"
    with BetonWriter(path, count) as writer:
        for i in range(count):
            payload = bytes([i + 1]) * 36 if encoding == "raw" else encoded(picture(i, 4, 3))
            writer.add(str(i), i % 3, payload, RAW if encoding == "raw" else JPEG, 4, 3)
    return path.read_bytes()


FRONT = HEADER.itemsize + 2 * FIELD.itemsize


def forged(data: bytes, table: str, field: str, value: int, row: int = 2) -> bytes:
    """`data` with one number changed, of its header, its metadata or its allocations."""
    kind, at = {
        "header": (HEADER, 0),
        "field": (FIELD, HEADER.itemsize),
        "sample": (SAMPLE, FRONT),
        "allocation": (ALLOCATION, int.from_bytes(data[16:24], "little")),
    }[table]
    changed = bytearray(data)
    numbers = np.frombuffer(changed, kind, count=1 if table == "header" else 2 if table == "field" else 6, offset=at)
    numbers[field][0 if table == "header" else row] = value
    return bytes(changed)


HOSTILE = [
    ("header", "version", 1, "no beton of version 2"),
    ("header", "num_fields", 0, "damaged: 0 fields"),
    ("header", "num_fields", 60_000, "damaged: 60000 fields"),
    ("header", "num_fields", 3, "damaged|does not define|is needed"),
    ("header", "page_size", 0, "allocation table cannot be"),
    ("header", "num_samples", 0, "holds no sample"),
    ("header", "num_samples", 5, "its allocation table has 144 bytes and not 120"),
    ("header", "num_samples", 2**63, "no room for"),
    ("header", "num_samples", 2**20, "no room for|allocation table has"),
    ("header", "allocations_at", 0, "was not finished"),
    ("header", "allocations_at", 2**62, "allocation table cannot be"),
    ("header", "allocations_at", 24, "allocation table cannot be"),
    ("field", "type_id", 255, "is of a type .255. that FFCV does not define"),
    ("sample", "mode", 2, "sample 2 has a mode"),
    ("sample", "width", 65535, "sample 2 has another size than its raw pixels"),
    ("sample", "height", 0, "sample 2 has no pixels"),
    ("sample", "pointer", 2**62, "no image of sample 2 where it should be"),
    ("sample", "pointer", 0, "no image of sample 2 where it should be"),
    ("sample", "label", -1, "sample 2 has the label -1"),
    ("sample", "label", 2**40, "sample 2 has the label 1099511627776"),
    ("allocation", "size", 37, "sample 3 lies over another one"),
    ("allocation", "size", 35, "sample 2 has another size than its raw pixels"),
    ("allocation", "size", 2**64 - 1, "sample 2 lies outside"),
    ("allocation", "size", 0, "no image of sample 2"),
    ("allocation", "pointer", 100, "sample 2 lies outside"),
    ("allocation", "pointer", 2**64 - 8, "sample 2 lies outside"),
    ("allocation", "sample", 3, "no image of sample 2"),
]


@pytest.mark.parametrize(("table", "field", "value", "what"), HOSTILE)
def test_a_hostile_number_is_named(tmp_path: Path, table: str, field: str, value: int, what: str) -> None:
    row = 0 if table == "field" else 2
    with pytest.raises(ValueError, match=rf"it\.beton.*({what})"):
        listed(forged(ours(tmp_path), table, field, value, row))


def test_two_samples_may_not_share_an_image(tmp_path: Path) -> None:
    data = ours(tmp_path)
    pointer = int(np.frombuffer(data, SAMPLE, count=6, offset=FRONT)["pointer"][1])
    with pytest.raises(ValueError, match="no image of sample 2 where it should be"):
        listed(forged(data, "sample", "pointer", pointer))


def test_cut_anywhere_it_is_an_error(tmp_path: Path) -> None:
    data = ours(tmp_path)
    table_at = int.from_bytes(data[16:24], "little")
    for length in (0, 1, 23, 24, 1000, FRONT, FRONT + 5, len(data) // 2, table_at, table_at + 24, len(data) - 1):
        with pytest.raises(ValueError, match=r"it\.beton is cut short"):
            listed(data[:length])
    with pytest.raises(ValueError, match="cut short or damaged"):
        listed(data + bytes(24))


CHOICES: list[tuple[list[int], list[str], int | None]] = [
    ([2, 1], ["a", "b"], 0),
    ([1, 2], ["a", "b"], 1),
    ([2, 2, 1], ["a", "image", "c"], 1),
    ([2, 2, 1], ["a", "b", "c"], None),
    ([2, 2, 1], ["image", "image", "c"], None),
    ([0, 1], ["a", "b"], None),
]


@pytest.mark.parametrize(("types", "names", "expected"), CHOICES)
def test_the_field_of_images_is_found_by_its_type(types: list[int], names: list[str], expected: int | None) -> None:
    from imagefeed.pipeline.formats.beton import IMAGE_FIELD, choose_field

    if expected is None:
        with pytest.raises(ValueError, match="it.beton: one field of RGB images is needed"):
            choose_field(types, names, IMAGE_FIELD, "image", "it.beton")
    else:
        assert choose_field(types, names, IMAGE_FIELD, "image", "it.beton") == expected


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(0, 1000)), min_size=1, max_size=9))
def test_any_samples_come_back(samples: list[tuple[int, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "it.beton")
        with BetonWriter(path, len(samples)) as writer:
            at = [writer.add("", label, bytes(3 * h * w), RAW, h, w) for h, w, label in samples]
        with open(path, "rb") as file:
            found = list_samples(file.fileno(), path.stat().st_size, "it.beton")
    assert list(zip(found.height, found.width, found.label, strict=True)) == samples
    assert found.offset.tolist() == at
    assert found.size.tolist() == [3 * h * w for h, w, _ in samples]


@pytest.fixture(scope="module")
def betons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two small betons, to be damaged in place: they are 16 MiB of zeros for the most part."""
    folder = tmp_path_factory.mktemp("betons")
    for encoding in ("raw", "jpeg"):
        (folder / f"{encoding}.beton").write_bytes(ours(folder, encoding=encoding))
    return {encoding: folder / f"{encoding}.beton" for encoding in ("raw", "jpeg")}


@settings(max_examples=400, deadline=None)
@given(encoding=st.sampled_from(["raw", "jpeg"]), data=st.data())
def test_a_flipped_bit_is_an_error_or_leaves_every_sample(
    betons: dict[str, Path], encoding: str, data: st.DataObject
) -> None:
    path = betons[encoding]
    size = path.stat().st_size
    table_at = size - 6 * ALLOCATION.itemsize
    spans = [range(24), range(24, 60), range(FRONT, FRONT + 6 * SAMPLE.itemsize), range(table_at, size)]
    at = data.draw(st.sampled_from(spans).flatmap(st.sampled_from))
    bit = data.draw(st.integers(0, 7))
    with open(path, "r+b") as file:
        whole = list_samples(file.fileno(), size, "it.beton")
        file.seek(at)
        before = file.read(1)
        file.seek(at)
        file.write(bytes([before[0] ^ 1 << bit]))
        file.flush()
        found, said = None, ""
        try:
            found = list_samples(file.fileno(), size, "it.beton")
        except ValueError as error:
            said = str(error)
        file.seek(at)
        file.write(before)
    if found is None:
        assert "it.beton" in said
    else:
        assert found.offset.tolist() == whole.offset.tolist()
        assert (found.size != whole.size).sum() <= (encoding == "jpeg")

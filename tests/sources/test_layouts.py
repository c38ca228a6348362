"""Every layout of the same images gives the same table and the same pixels; what is not clear is refused."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from imagefeed.jobs.cli.inspect import verify_command
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.loader.dataset import open_dataset
from imagefeed.pipeline.sources import ilsvrc2012
from imagefeed.pipeline.sources.ilsvrc2012 import check_archives
from imagefeed.pipeline.sources.image_table import Source
from imagefeed.pipeline.sources.open_source import open_source
from imagefeed.pipeline.sources.reader import read_rows
from tests.conftest import encoded, picture
from tests.support.layouts import LAYOUTS, Image, Images, drawn, parquet_table


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return drawn(tmp_path_factory.mktemp("images") / "archives")


@pytest.fixture(scope="module")
def places(images: Images, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each layout."""
    root = tmp_path_factory.mktemp("layouts")
    for name, write in LAYOUTS.items():
        write(images, root / name)
    return {name: root / name for name in LAYOUTS}


def listed(source: Source, split: str) -> list[Image]:
    """What a source says of a split, keys without the folders and splits that some layouts put before them."""
    table = source.splits[split]
    keys = [key.rpartition("/")[2] for key in table["key"].to_pylist()]
    rows = zip(keys, table["label"].to_pylist(), read_rows(source.root, table), strict=True)
    return sorted(Image(*row) for row in rows)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_table(layout: str, images: Images, places: dict[str, Path]) -> None:
    source = open_source(places[layout])
    assert [each.wnid for each in source.classes] == images.wnids
    if layout != "class_folders":  # which know no words
        assert [each.words for each in source.classes] == images.words
    assert list(source.splits) == ["train", "val"]
    for split, expected in images.splits.items():
        assert listed(source, split) == expected
        keys = source.splits[split]["key"].to_pylist()
        assert keys == sorted(set(keys))


@pytest.fixture(scope="module")
def pixels(images: Images, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The stored pixels of the layout of the downloads, raw, by key."""
    return converted(images.folder, tmp_path_factory.mktemp("pixels"))


def converted(source: Path, out: Path) -> dict[str, np.ndarray]:
    convert(source, out, ConvertOptions(format="beton", raw=True, shard_size=11))
    found = {}
    for split in ("train", "val"):
        dataset = open_dataset(out / split)
        for row in dataset.samples.to_pylist():
            data = (out / split / f"shard-{row['shard']:05d}.beton").read_bytes()
            raw = np.frombuffer(data, np.uint8, row["size"], row["offset"])
            found[row["key"].rpartition("/")[2]] = raw.reshape(row["height"], row["width"], 3)
    return found


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "archives"])
def test_every_layout_converts_to_the_same_pixels(
    layout: str, places: dict[str, Path], pixels: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """PNG, CMYK, grey and rotated by EXIF among them; the one that is cut short is in quarantine each time."""
    found = converted(places[layout], tmp_path)
    assert found.keys() == pixels.keys() and len(found) == 39
    for key, image in found.items():
        np.testing.assert_array_equal(image, pixels[key])


@pytest.mark.parametrize("options", [{"format": "tar"}, {"format": "beton"}, {"format": "beton", "raw": True}])
def test_our_own_shards_and_the_bare_betons_are_sources(options: dict, images: Images, tmp_path: Path) -> None:
    convert(images.folder, tmp_path / "first", ConvertOptions(shard_size=11, **options))
    stored = open_source(tmp_path / "first")
    original = {image.key: image.label for split in images.splits.values() for image in split}
    assert [each.wnid for each in stored.classes] == images.wnids
    for split in ("train", "val"):
        for key, label in zip(*(stored.splits[split][name].to_pylist() for name in ("key", "label")), strict=True):
            assert original[key] == label
    for split in ("train", "val"):  # as if FFCV had written them: shards alone
        for file in (tmp_path / "first" / split).glob("shard-*"):
            (tmp_path / "bare" / split).mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, tmp_path / "bare" / split)
    bare = open_source(tmp_path / "bare")
    for split in ("train", "val"):
        ours, theirs = (sorted(read_rows(s.root, s.splits[split])) for s in (stored, bare))
        assert ours == theirs
    again = convert(tmp_path / "first", tmp_path / "again", ConvertOptions(format="beton", raw=True, shard_size=11))
    assert again[tmp_path / "again" / "train"].num_samples == 29
    if options.get("raw"):
        for split in ("train", "val"):
            first, second = (
                open_dataset(tmp_path / name / split).samples.sort_by("key")["xxh3"] for name in ("first", "again")
            )
            assert first.equals(second)


@pytest.mark.parametrize("codec", ["NONE", "snappy", "gzip", "zstd", "brotli"])
@pytest.mark.parametrize("options", [{}, {"data_page_version": "2.0"}, {"use_dictionary": False}])
def test_parquet_is_read_by_pages_as_pyarrow_reads_it_whole(codec: str, options: dict, tmp_path: Path) -> None:
    """Small pages of images that repeat (a dictionary) and of large ones; also a page with a single value."""
    rng = np.random.default_rng(0)
    data = [rng.bytes(int(size)) for size in rng.integers(1, 3000, 60)] + [bytes(5000)] * 9 + [b"x"]
    members = [Image(f"{number:03d}", number % 3, each) for number, each in enumerate(data)]
    table = parquet_table(Images(tmp_path, [], ["a", "b", "c"], {}), members)
    pq.write_table(
        table,
        tmp_path / "a.parquet",
        compression=codec,
        row_group_size=33,
        data_page_size=2000,
        write_batch_size=2,
        dictionary_pagesize_limit=9000,
        **options,
    )
    source = open_source(tmp_path)
    whole = pq.read_table(tmp_path / "a.parquet")["image"].to_pylist()
    assert list(read_rows(source.root, source.splits["train"])) == [each["bytes"] for each in whole]
    assert source.splits["train"]["key"].to_pylist() == [each["path"].removesuffix(".JPEG") for each in whole]


def test_a_damaged_page_is_an_error(tmp_path: Path) -> None:
    members = [Image(f"{number:03d}", 0, bytes([number]) * 4000) for number in range(20)]
    pq.write_table(parquet_table(Images(tmp_path, [], ["a"], {}), members), tmp_path / "a.parquet", data_page_size=9000)
    source = open_source(tmp_path)
    row = source.splits["train"].slice(3, 1).to_pylist()[0]
    file = tmp_path / "a.parquet"
    content = bytearray(file.read_bytes())
    content[row["offset"] : row["offset"] + row["size"]] = bytes(row["size"])
    file.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        open_source(tmp_path).splits  # the headers tell  # noqa: B018
    with pytest.raises(ValueError, match="damaged|written to"):
        list(read_rows(source.root, source.splits["train"]))


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(0, 32, 32)))


REFUSED = {
    "tars beside Parquet": (["train-0.tar", "train-0.parquet"], "may be meant as one of several"),
    "archives beside folders": (
        ["ILSVRC2012_img_train.tar", "ILSVRC2012_devkit_t12.tar.gz", "train/n00000001/x.JPEG"],
        "may be meant as one of several",
    ),
    "tars beside betons": (["train-0.tar", "train-0.beton"], "tars and betons"),
    "splits and others": (["train-0.tar", "more.tar"], r"neither train nor val: name those"),
    "two validations": (["val/a/x.jpg", "validation/a/x.jpg"], "both val/ and validation/"),
    "a folder beside splits": (["train/a/x.jpg", "val/a/x.jpg", "old/a/x.jpg"], "other folders with images beside"),
    "a class that train lacks": (["train/a/x.jpg", "val/b/x.jpg"], r"val has the class b, which is not among"),
    "validation images without a kit": (["train/n00000001/x.JPEG", "val/ILSVRC2012_val_00000001.JPEG"], "devkit_t12"),
    "inside of Kaggle's": (["Data/CLS-LOC/train/n00000001/x.JPEG"], "name the folder with LOC_synset_mapping"),
    "nothing but a test split": (["data/test-0.parquet"], "cannot be read as Parquet"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_clear_is_refused_with_the_cure(case: str, tmp_path: Path) -> None:
    files, message = REFUSED[case]
    touch(*(tmp_path / file for file in files))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg 0\nb.jpg\n", "line 2 is no path and label"),
        ("a.jpg 0\nc.jpg 1\n", "c.jpg: no such file"),
        ("a.jpg 1\nb.jpg 2\n", "counted from 0"),  # the trap of labels from 1 on
        ("\n", "not one image"),
        ("a.jpg 0\na.jpg 0\n", "two images have the key a"),
    ],
)
def test_a_list_that_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "b.jpg")
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_source(tmp_path / "list.txt")


def test_a_list_by_name_may_have_names_for_labels_and_spaces_in_paths(tmp_path: Path) -> None:
    touch(tmp_path / "gold fish.jpg", tmp_path / "sub" / "b.jpg")
    (tmp_path / "mine.lst").write_text("gold fish.jpg fish\n./sub/b.jpg\tbird\n")
    source = open_source(tmp_path / "mine.lst")
    assert [each.wnid for each in source.classes] == ["bird", "fish"]
    table = source.splits["train"]
    assert list(zip(table["key"].to_pylist(), table["label"].to_pylist(), strict=True)) == [
        ("gold fish", 1),
        ("sub/b", 0),
    ]


def test_some_of_the_files_by_a_pattern(places: dict[str, Path]) -> None:
    for pattern in ("imagenet-train-*.tar", "imagenet-train-{0000..0001}.tar", "imagenet-train-000{0,1}.tar"):
        source = open_source(f"{places['webdataset']}/{pattern}")
        assert list(source.splits) == ["train"] and len(source.splits["train"]) == 30
    with pytest.raises(FileNotFoundError, match=r"train-0002\.tar: no such file"):
        open_source(f"{places['webdataset']}/imagenet-train-{{0000..0002}}.tar")


def test_archives_of_another_sum_are_named(images: Images) -> None:
    with pytest.raises(ValueError, match=r"devkit_t12\.tar\.gz has the MD5 [0-9a-f]{32} and not fa75699e"):
        list(check_archives(str(images.folder)))


def test_a_file_written_to_meanwhile_is_noticed(places: dict[str, Path], tmp_path: Path) -> None:
    """Also where its size stays."""
    folder = Path(shutil.copytree(places["webdataset"], tmp_path / "copy"))
    source = open_source(folder)
    tar = folder / "imagenet-val-0000.tar"
    tar.write_bytes(tar.read_bytes()[::-1])
    with pytest.raises(ValueError, match=r"imagenet-val-0000\.tar was written to: .* run again"):
        list(read_rows(source.root, source.splits["val"]))


def test_verify_compares_the_downloads_with_the_published_sums(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(
        ValueError, match=r"devkit_t12\.tar\.gz has the MD5 [0-9a-f]{32} and not fa75699e.*get it again"
    ):
        verify_command(str(images.folder))
    with pytest.raises(ValueError, match="leave out --quick"):
        verify_command(str(images.folder), quick=True)
    for file in images.folder.iterdir():
        monkeypatch.setitem(ilsvrc2012.MD5, file.name, hashlib.md5(file.read_bytes()).hexdigest())
    verify_command(str(images.folder))
    assert capsys.readouterr().out.count("as it was published") == 3

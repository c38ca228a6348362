"""What is hashed of records stays as it was: datasets and indexes that were made before are known again."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from imagefeed.pipeline.convert import options as convert_options
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.convert.plan import SplitPlan
from imagefeed.pipeline.dataset.digests import spell_shards
from imagefeed.pipeline.dataset.index import ShardFile, Survey
from imagefeed.pipeline.dataset.manifest import Class, Manifest, Shard
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.sources.image_table import Source, rows

BEFORE = Path(__file__).parent / "before"
ONE = (Class("n01", 'it\'s a "cat"'),)
TWO = (*ONE, Class("n02", "caf\u00e9\n"))
TAR = (ShardFile(Path("/data/it's.tar"), 10240, 1_700_000_000_123_456_789),)
BETONS = (ShardFile(Path("/data/a.beton"), 1, 2), ShardFile(Path("/data/b\udcff.beton"), 3, 4))
SHARDS = (
    Shard(name="shard-00000.beton", num_samples=3, num_bytes=8388608, sha256="ab" * 32),
    Shard(name="/data/b.beton", num_samples=4, num_bytes=77, sha256=None, modified_ns=5),
)


def source(kind: str, classes: tuple[Class, ...]) -> Source:
    table = rows(
        key=pa.array(["a", "b/c"]),
        label=np.array([0, 1]),
        file=pa.array(["x.tar", "y \u00e9.tar"]),
        offset=np.array([512, 1536]),
        size=np.array([100, 7]),
        stamp=np.array([1, 2]),
    )
    return Source(kind=kind, root="/any", classes=classes, splits={"train": table})


# The digests below are those of the code of commit c05dad6.


@pytest.mark.parametrize(
    ("kind", "classes", "digest"),
    [
        ("folder", ONE, "90ec351fefb876b13d93c56076b4de6f19394831a924127b39965972e56a6c3b"),
        ("ilsvrc2012", TWO, "c21397973497aa81389e1a16a32890321e7492819d075518a15772eb8a3d7bc3"),
    ],
)
def test_the_digest_of_a_source_is_as_it_was(kind: str, classes: tuple[Class, ...], digest: str) -> None:
    assert source(kind, classes).digest("train") == digest


@pytest.mark.parametrize(
    ("found", "digest"),
    [
        (Survey("tar", TAR, None), "9ac3b22ef7abda630701e943c1e69922faf008f95638972833811ac69a638acb"),
        (Survey("tar", TAR, ONE), "2c8809d32bdb81789e623118525fe47c4a64086dff276205c7642cb2874c7f71"),
        (Survey("beton", BETONS, TWO), "e41beb71126c60e848079ecc03cacc1fe7546fb891dd7be5b09f907f66924856"),
    ],
)
def test_the_digest_of_shards_of_others_is_as_it_was(found: Survey, digest: str) -> None:
    assert found.digest == digest


@pytest.mark.parametrize(
    ("shards", "digest"),
    [
        (SHARDS[:1], "89291ef25c797fe0bc5cbc6309d08cd6baf2692d7563ca504be7c46f477f2106"),
        (SHARDS, "e31d40826db304225981b44dfa412838ab821f2d1297379be8592d5b2324b511"),
    ],
)
def test_the_name_of_a_merged_beton_is_as_it_was(shards: tuple[Shard, ...], digest: str) -> None:
    assert hashlib.sha256(spell_shards(shards).encode()).hexdigest() == digest


@pytest.mark.parametrize(
    ("options", "of_split", "of_shard"),
    [
        (
            ConvertOptions(),
            "8553a5060c34fc9e087889aa80c2587e6d692a87cb216538e3c86bc9a83c5563",
            "e1909f8d5fb700dfef0ffba35f4bf4940ad5344a02b49ec834c3bcd4db5d811f",
        ),
        (
            ConvertOptions(
                format="both",
                resize="short:300",
                quality=80,
                sampling="4:4:4",
                huffman="standard",
                shard_size=7,
                shuffle="none",
            ),
            "1f3b0ddfbfe7bfbdde6d42c0e834ea61a69c53751a5a6b89bd8f7342db18f763",
            "a712e0a6b6d287aa6670ae29f5966c1442815c2009dd2147239753e84ea185ea",
        ),
        (
            ConvertOptions(format="beton", resize="long:9", raw=True, shuffle=3),
            "be85518ea20860eb5a5cb908c3f2a121cd21955f94d84d862804b1107f0641b6",
            "3a797036f532bd44e338b4caf1130cd643a956aabbdeeaf86604be1b4c50005c",
        ),
        (
            ConvertOptions(resize="none", statistics=True),
            "9b91732b6cfb13e188bd4552876ac61b5a5414d9b0e795a913ce81b1d74fd21a",
            "2ba93fae35d6dca405b3c8b861593ed08e56a1b945c771761c9f19d85ebccb2f",
        ),
    ],
)
def test_the_digests_of_a_split_and_of_its_first_shard_are_as_they_were(
    options: ConvertOptions, of_split: str, of_shard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert_options, "codec_name", lambda: "some codec 1")
    plan = SplitPlan(name="train", source=source("folder", ONE), out={}, options=options)
    assert plan.digest == of_split
    assert next(plan.tasks()).digest == of_shard


def test_a_split_that_was_made_before_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command over it does nothing, wherever source and split lie by now."""
    shutil.copytree(BEFORE / "images", tmp_path / "elsewhere")
    shutil.copytree(BEFORE / "split", tmp_path / "out")
    manifest = Manifest.load(tmp_path / "out" / "train")
    assert manifest.storage is not None
    codec = manifest.storage.codec  # that of another machine may be another one, which is part of the digest
    monkeypatch.setattr(convert_options, "codec_name", lambda: codec)
    for shard in (tmp_path / "out" / "train").glob("shard-*"):  # younger than the images, which else are read again
        os.utime(shard, (2**32, 2**32))
    files = {path: path.read_bytes() for path in (tmp_path / "out" / "train").iterdir()}
    times = {path: path.stat().st_mtime_ns for path in files}
    made = convert(
        tmp_path / "elsewhere", tmp_path / "out", ConvertOptions(resize="long:32", quality=75, shard_size=3), refuse
    )
    assert made == {tmp_path / "out" / "train": manifest}
    assert {path: path.read_bytes() for path in (tmp_path / "out" / "train").iterdir()} == files
    assert {path: path.stat().st_mtime_ns for path in files} == times
    assert len(Split.open(tmp_path / "out" / "train").columns.id) == 4


def refuse(make: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
    """An executor for a conversion that has nothing to do."""
    assert not list(tasks)
    return iter(())


def test_an_index_that_was_made_before_is_known_again() -> None:
    (folder,) = (BEFORE / "index").iterdir()
    manifest = Manifest.load(folder)
    files = tuple(ShardFile(Path(each.name), each.num_bytes, each.modified_ns or 0) for each in manifest.shards)
    found = Survey(manifest.format, files, manifest.classes)
    assert found.digest == folder.name == manifest.digest
    for number, file in enumerate(files):  # it is of the very shards of the split beside it
        shard = BEFORE / "split" / "train" / f"shard-{number:05d}.tar"
        assert file.num_bytes == shard.stat().st_size
    assert json.loads((folder / "manifest.json").read_text())["digest"] == found.digest

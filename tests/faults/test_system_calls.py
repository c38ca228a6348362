"""Every system call may fail: the error names the path and the cure, and the same work ends well once it passes."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from imagefeed.pipeline.checks.verify import verify
from imagefeed.pipeline.dataset.split import Split
from tests.faults.random_errors import WORKS
from tests.faults.system_calls import CURES, LEAVE_NOTHING, Ask, build_library, started


class Row(NamedTuple):
    """Calls that fail where a path has `part` in it, in a work of `works.py`."""

    work: str
    calls: str
    part: str
    errors: str  # names of numbers
    passes: bool = False  # whether the work ends well all the same
    names: str = ""  # what the error names, unless that is `part`
    after: int = 0  # bytes that are written before
    nth: int = -1  # the one of these calls that fails, from 0; -1: they all do


READ = "EIO ESTALE"
FULL = "ENOSPC EDQUOT"
TABLE = [
    # the source of a conversion
    Row("convert", "opendir", "train/bee", "EIO ESTALE EACCES EMFILE"),
    Row("convert", "readdir", "train/bee", READ),
    Row("convert", "opendir", "images/train", "EIO"),
    Row("convert", "stat", "train/bee/001.jpg", "EIO"),
    Row("convert", "open", "train/bee/001.jpg", "EIO ESTALE EACCES EMFILE ENFILE"),
    Row("convert", "read", "train/bee/001.jpg", READ),
    Row("convert tars", "open", "tars/part-1.tar", "EIO"),
    Row("convert tars", "read", "tars/part-1.tar", READ),
    Row("convert tars", "opendir", "tars", "EIO"),
    Row("quarantine", "open", "train/bee/001.jpg", "EMFILE"),
    # what it writes
    Row("convert", "mkdir", "/out", "ENOSPC EDQUOT EROFS EACCES"),
    Row("convert", "open", "out/train/.tmp", "ENOSPC EDQUOT EROFS EACCES EIO", names="out/train"),
    Row("convert", "write", "out/train/.tmp", "ENOSPC EDQUOT EIO", names="out/train", after=3000),
    Row("convert", "write", "-shard-00000.tar.parquet", FULL, names="out/train/.records"),
    Row("convert", "write", "-shard-00000.tar.json", FULL, names="out/train/.records"),
    Row("convert", "write", "-samples.parquet", FULL, names="out/train"),
    Row("convert", "write", "-mean_image.npy", FULL, names="out/train"),
    Row("convert", "write", "-manifest.json", FULL, names="out/train"),
    Row("convert", "fsync", "shard-00001.tar", "EIO ENOSPC EDQUOT", names="out/train"),
    Row("convert", "fsyncdir", "out/train", "EIO"),
    Row("convert", "fsyncdir", "out", "EINVAL EOPNOTSUPP", passes=True),
    Row("convert", "rename", "shard-00001.tar", "EIO ENOSPC", names="out/train"),
    Row("convert", "rename", "manifest.json", "EIO", names="out/train"),
    Row("convert", "read", ".records/shard-00001.tar.json", READ),
    Row("convert", "read", "out/train/.tmp", "EIO", names="out/train"),  # to be hashed
    Row("convert", "flock", "out", "ENOSYS ENOLCK EOPNOTSUPP", passes=True),
    Row("convert", "flock", "out", "EIO"),
    Row("repack", "flock", "out", "ENOSYS", passes=True),
    Row("repack", "read", "train/shard-00001.tar", READ),
    Row("repack", "write", "out/.tmp", FULL, names="/out", after=3000),
    Row("repack", "fsyncdir", "out", "EINVAL", passes=True),
    Row("repack", "opendir", "/out", "EIO", nth=2),  # the manifest is there, and only tidying is left
    # a split
    Row("verify", "read", "train/manifest.json", "EIO"),
    Row("verify", "read", "train/samples.parquet", READ),
    Row("verify", "read", "train/quarantine.parquet", "EIO"),
    Row("verify", "read", "train/mean_image.npy", "EIO"),
    Row("verify", "read", "train/shard-00001.tar", READ),
    Row("verify", "open", "train/shard-00001.tar", "EIO EACCES EMFILE"),
    Row("load", "open", "train/manifest.json", "EIO ESTALE EACCES"),
    Row("load", "read", "train/manifest.json", READ),
    Row("load", "read", "train/samples.parquet", READ),
    Row("load", "stat", "train/shard-00001.tar", READ),
    Row("load", "open", "train/shard-00001.tar", "EIO ESTALE EACCES EMFILE"),
    Row("load", "mmap", "train/shard-00001.tar", "ENOMEM EIO ENODEV EACCES"),
    # shards of others, and their index
    Row("load tars", "opendir", "tars", READ),
    Row("load tars", "open", "part-1.tar", "EIO"),
    Row("load tars", "read", "part-1.tar", READ),
    Row("load tars", "read", "part-1.tar", READ, names="part-1.tar could not be read at byte 0", nth=1),
    Row("load tars", "mkdir", "/home", "EACCES EROFS ENOSPC EDQUOT"),
    Row("load tars", "write", "home/indexes", FULL),
    Row("load tars", "flock", "home/indexes", "ENOSYS ENOLCK", passes=True),
    Row("load tars", "fsyncdir", "home/indexes", "EINVAL", passes=True),
    Row("load tars", "fsyncdir", "home/indexes", "EIO"),
    # the cache of what is elsewhere
    Row("load remote", "mkdir", "/cache", "EACCES EROFS ENOSPC EDQUOT"),
    Row("load remote", "open", "/cache/", "EACCES EROFS ENOSPC EMFILE"),
    Row("load remote", "fallocate", "/cache/", "ENOSPC EDQUOT EIO", names="/cache"),
    Row("load remote", "fallocate", "/cache/", "EOPNOTSUPP", passes=True),
    Row("load remote", "write", "/cache/", FULL),
    Row("load remote", "write", ".part", FULL, names="/cache"),
    Row("load remote", "fsync", ".part", "EIO EDQUOT", names="/cache"),
    Row("load remote", "rename", "/cache/", "EIO"),
    Row("load remote", "flock", "/cache/", "ENOSYS ENOLCK EOPNOTSUPP"),
    Row("load remote", "mmap", "/cache/", "ENOMEM"),
    # what processes share
    Row("processes", "sem_open", "/", "EROFS EACCES ENOSPC", names="/dev/shm"),
    Row("transform", "sem_open", "/", "EROFS", names="/dev/shm"),
    # a training run
    Row("train", "mkdir", "/run", "EACCES EROFS ENOSPC"),
    Row("train", "flock", "/run", "ENOSYS ENOLCK", passes=True),
    Row("train", "write", "config.json", FULL),
    Row("train", "write", "checkpoint-last.pt", FULL, after=20_000),
    Row("train", "fsync", "checkpoint-last.pt", "EIO EDQUOT"),
    Row("train", "rename", "checkpoint-last.pt", "EIO"),
    Row("train", "fsyncdir", "/run", "EINVAL", passes=True),
    Row("train", "write", "metrics.jsonl", FULL),
    Row("train", "fsync", "metrics.jsonl", "EIO"),
    Row("train", "write", "tensorboard", "ENOSPC"),
    Row("train", "mmap", "train/shard-00001.tar", "ENOMEM"),
    Row("train", "read", "val/samples.parquet", "EIO"),
    # an evaluation
    Row("evaluate", "open", "run/checkpoint-last.pt", "EIO ESTALE EACCES"),
    Row("evaluate", "read", "run/checkpoint-last.pt", "EIO ESTALE ENOSPC"),
    Row("evaluate", "read", "run/metrics.jsonl", "EIO"),
    Row("evaluate", "read", "val/manifest.json", "EIO"),
    Row("evaluate", "read", "val/samples.parquet", READ),
    Row("evaluate", "read", "train/mean_image.npy", READ),
    Row("evaluate", "open", "val/shard-00000.tar", "EIO EACCES"),
    Row("evaluate", "mmap", "val/shard-00000.tar", "ENOMEM EIO"),
    Row("evaluate", "mkdir", "/out", "EACCES EROFS ENOSPC EDQUOT"),
    Row("evaluate", "open", "/out/.tmp", "EACCES EROFS ENOSPC EDQUOT EIO", names="/out/predictions.parquet"),
    Row("evaluate", "write", "predictions.parquet", "EIO ENOSPC EDQUOT"),
    Row("evaluate", "write", "report.json", "EIO ENOSPC EDQUOT"),
    Row("evaluate", "write", "report.html", "EIO ENOSPC EDQUOT"),
    Row("evaluate", "fsync", "predictions.parquet", "EIO EDQUOT"),
    Row("evaluate", "rename", "report.json", "EIO EACCES"),
    Row("evaluate", "rename", "report.html", "EIO EACCES"),
    Row("evaluate", "fsyncdir", "/out", "EIO"),
    Row("evaluate", "fsyncdir", "/out", "EINVAL", passes=True),
]


def name_of(row: Row) -> str:
    """Of its test."""
    return f"{row.work}-{row.calls}-{row.part}"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the works read."""
    return tmp_path_factory.mktemp("given")


@pytest.fixture(scope="module")
def ask(given: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Does works under faults."""
    with started(build_library(tmp_path_factory.mktemp("library")), given) as ask:
        yield ask


@pytest.fixture(scope="module")
def undisturbed(ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """What a work comes to without a fault."""
    known: dict[str, str] = {}

    def result(work: str) -> str:
        if work not in known:
            (answer,), _ = ask(work, tmp_path_factory.mktemp("undisturbed"), [""])
            known[work] = answer["result"]
        return known[work]

    return result


@pytest.mark.parametrize("row", TABLE, ids=name_of)
def test_calls_that_fail(row: Row, ask: Ask, undisturbed: Callable[[str], str], tmp_path: Path) -> None:
    """Each error finds what the last one has left, and after all of them the work ends well."""
    names = row.errors.split()
    which = f"{row.nth} 1" if row.nth >= 0 else "0 -1"
    faults = [f"{row.calls} {getattr(errno, name)} {row.part} {row.after} {which}" for name in names]
    if row.passes:
        for number, fault in enumerate(faults):
            out = tmp_path / str(number)
            out.mkdir()
            (answer,), _ = ask(row.work, out, [fault])
            assert answer["injected"], "the work has never made such a call"
            assert answer.get("result") == undisturbed(row.work), answer
        return
    answers, said = ask(row.work, tmp_path, faults if row.work in LEAVE_NOTHING else [*faults, ""])
    for name, answer in zip(names, answers[: len(names)], strict=True):
        assert answer["injected"], f"{name}: the work has never made such a call"
        assert answer.get("kind") in ("OSError", "RuntimeError", "PermissionError"), (name, answer)
        assert (row.names or row.part) in answer["text"], (name, answer)
        assert any(word in answer["text"] for word in CURES), (name, answer)
    assert "Traceback" not in said
    for answer in answers[len(names) :]:
        assert answer.get("result") == undisturbed(row.work), answer


@pytest.mark.parametrize("work", WORKS)
def test_what_is_read_may_lie_on_a_read_only_mount(work: str, ask: Ask, given: Path, tmp_path: Path) -> None:
    (answer,), _ = ask(work, tmp_path, [f"mkdir,openw,rename,link,unlink,ftruncate,write {errno.EROFS} {given}"])
    assert "result" in answer and answer["injected"] == []


@pytest.mark.parametrize("name", ["EIO", "ESTALE", "EACCES", "EUCLEAN"])
def test_an_image_that_cannot_be_read_goes_to_quarantine_where_that_is_asked(
    name: str, ask: Ask, tmp_path: Path
) -> None:
    """Also by a run that goes on from one which it has ended."""
    fault = f"read {getattr(errno, name)} train/bee/001.jpg"
    answers, _ = ask("convert", tmp_path, [fault, fault])
    assert [answer["kind"] in ("OSError", "PermissionError") for answer in answers] == [True, True]
    (answer,), _ = ask("quarantine", tmp_path, [fault])
    assert "result" in answer
    train = tmp_path / "out" / "train"
    (lost,) = pq.read_table(train / "quarantine.parquet").to_pylist()
    assert (lost["key"], lost["label"]) == ("bee/001", 1)
    assert "train/bee/001.jpg cannot be read" in lost["reason"]
    keys = pq.read_table(train / "samples.parquet")["key"].to_pylist()
    assert len(keys) == 11 and "bee/001" not in keys
    assert verify(Split.open(train)) == []

"""Every system call may fail: the error names the path and the cure, and the same work ends well once it passes."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

from imagefeed.pipeline.checks.verify import verify
from imagefeed.pipeline.dataset.split import Split

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("failing.c")


class Row(NamedTuple):
    """Calls that fail where a path has `part` in it, in a work of `works.py`."""

    work: str
    calls: str
    part: str
    errors: str  # names of numbers, one test each
    passes: bool = False  # whether the work ends well all the same
    names: str = ""  # what the error names, unless that is `part`
    after: int = 0  # bytes that are written before


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
]
LEAVE_NOTHING = ("verify", "load", "processes", "transform")
CASES = [
    pytest.param(row, name, id=f"{row.work}-{row.calls}-{row.part}-{name}")
    for row in TABLE
    for name in row.errors.split()
]
CURES = (
    *("run again", "right to it", "raise ", "another folder", "folder on another disk", "can be written to"),
    *("IMAGEFEED_HOME", "end what"),
)
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library under which calls fail."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "g++", "clang"))), None)
    if compiler is None:
        pytest.skip("no C compiler is here, which makes calls fail: ./run setup installs one")
    path = tmp_path_factory.mktemp("library") / "failing.so"
    subprocess.run([compiler, "-x", "c", "-shared", "-fPIC", "-O1", "-o", path, SOURCE, "-ldl"], check=True)
    return path


@pytest.fixture(scope="module")
def ask(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Does a work with a fault; what has come of it, with `injected`, the calls that were made to fail."""
    given, log = tmp_path_factory.mktemp("given"), tmp_path_factory.mktemp("log") / "log"
    environment = os.environ | {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.works", str(given)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None

        requests, answers = process.stdin, process.stdout

        def asked(work: str, out: Path, fault: str = "") -> dict[str, Any]:
            log.unlink(missing_ok=True)
            request = {"work": work, "given": str(given), "out": str(out), "fault": fault, "log": str(log)}
            print(json.dumps(request), file=requests, flush=True)
            answer = json.loads(answers.readline())
            return answer | {"injected": log.read_text().splitlines() if log.exists() else []}

        yield asked
        requests.close()


@pytest.fixture(scope="module")
def undisturbed(ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """What a work comes to without a fault."""
    known: dict[str, str] = {}

    def result(work: str) -> str:
        if work not in known:
            known[work] = ask(work, tmp_path_factory.mktemp("undisturbed"))["result"]
        return known[work]

    return result


@pytest.mark.parametrize(("row", "name"), CASES)
def test_a_call_that_fails(row: Row, name: str, ask: Ask, undisturbed: Callable[[str], str], tmp_path: Path) -> None:
    answer = ask(row.work, tmp_path, f"{row.calls} {getattr(errno, name)} {row.part} {row.after}")
    assert answer["injected"], "the work has never made such a call"
    if row.passes:
        assert answer.get("result") == undisturbed(row.work), answer
        return
    assert answer.get("kind") in ("OSError", "RuntimeError", "PermissionError"), answer
    assert (row.names or row.part) in answer["text"], answer
    assert any(word in answer["text"] for word in CURES), answer
    if row.work not in LEAVE_NOTHING:
        assert ask(row.work, tmp_path)["result"] == undisturbed(row.work)  # once the disk is sound again


@pytest.mark.parametrize(
    ("calls", "part"),
    [("read", "checkpoint-last.pt"), ("mkdir", "/out")],
)
def test_an_evaluation_whose_calls_fail(
    calls: str, part: str, library: Path, shards: Path, checkpoint: Path, tmp_path: Path
) -> None:
    words = ["--checkpoint", checkpoint, "--data", shards / "tar", "--out", tmp_path / "out", "--num-actors", "1"]
    environment = os.environ | {"LD_PRELOAD": str(library), "FAULT": f"{calls} {errno.ENOSPC} {part}"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "jobs/evaluate.py", *map(str, words)],
        cwd=ROOT,
        env=environment,
        text=True,
        capture_output=True,
        timeout=120,
    )
    said = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and said.startswith("error: "), done.stderr
    assert part in said and "make room" in said


@pytest.mark.parametrize("name", ["EIO", "ESTALE", "EACCES", "EUCLEAN"])
def test_an_image_that_cannot_be_read_goes_to_quarantine_where_that_is_asked(
    name: str, ask: Ask, tmp_path: Path
) -> None:
    """Also by a run that goes on from one which it has ended."""
    fault = f"read {getattr(errno, name)} train/bee/001.jpg"
    for _ in range(2):
        assert ask("convert", tmp_path, fault)["kind"] in ("OSError", "PermissionError")
    assert "result" in ask("quarantine", tmp_path, fault)
    train = tmp_path / "out" / "train"
    (lost,) = pq.read_table(train / "quarantine.parquet").to_pylist()
    assert (lost["key"], lost["label"]) == ("bee/001", 1)
    assert "train/bee/001.jpg cannot be read" in lost["reason"]
    keys = pq.read_table(train / "samples.parquet")["key"].to_pylist()
    assert len(keys) == 11 and "bee/001" not in keys
    assert verify(Split.open(train)) == []

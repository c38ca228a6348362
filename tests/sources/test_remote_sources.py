"""A source at a URL is the source that it is on a disk: the same bytes come out, or an error that names the file."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.files import input_folder
from imagefeed.pipeline.files.object_store import StorageOptions
from imagefeed.pipeline.sources import reader
from imagefeed.pipeline.sources.open_source import open_source
from imagefeed.pipeline.sources.reader import read_rows
from tests.convert.test_convert import contents
from tests.support.layouts import LAYOUTS, Images, drawn
from tests.support.servers import Fault, FileServer, file_server, s3_bucket, use_s3

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ConvertOptions(shard_size=11)
FAST = StorageOptions(timeout=1, attempts=3, pause=0.01)


def beton(images: Images, out: Path) -> None:
    convert(images.folder, out.with_name("made"), ConvertOptions(format="beton", shard_size=11))
    for split in ("train", "val"):
        for shard in (out.with_name("made") / split).glob("shard-*"):
            (out / split).mkdir(parents=True, exist_ok=True)
            shutil.copy2(shard, out / split)


def own_dataset(images: Images, out: Path) -> None:
    convert(images.folder, out, ConvertOptions(shard_size=11))


SOURCES: dict[str, Callable[[Images, Path], None]] = LAYOUTS | {"beton": beton, "own_dataset": own_dataset}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each layout of the same images, and class_folders/, that of many files."""
    root = tmp_path_factory.mktemp("sources")
    images = drawn(root / "drawn")
    for name, write in SOURCES.items():
        write(images, root / name)
    return root


@pytest.fixture(scope="module")
def expected(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    """The files that a local conversion of a layout makes."""
    made: dict[str, dict[str, bytes]] = {}

    def of(layout: str) -> dict[str, bytes]:
        if layout not in made:
            out = tmp_path_factory.mktemp(layout)
            convert(root / layout, out, OPTIONS)
            made[layout] = contents(out)
        return made[layout]

    return of


@pytest.fixture
def server(root: Path) -> Iterator[FileServer]:
    with file_server(root) as server:
        yield server


@pytest.fixture(scope="module")
def s3(root: Path) -> Iterator[str]:
    """moto's S3 with all of them in the bucket `sources`; its address."""
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    with s3_bucket("sources", root) as address:
        yield address


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_folder, "StorageOptions", lambda: FAST)


@pytest.mark.parametrize("layout", SOURCES)
def test_a_source_over_http_gives_the_bytes_of_the_local_one(
    layout: str, server: FileServer, expected: Callable, tmp_path: Path
) -> None:
    convert(f"{server.url}/{layout}", tmp_path, OPTIONS)
    assert contents(tmp_path) == expected(layout)


@pytest.mark.parametrize("layout", ["archives", "class_folders", "parquet", "webdataset", "own_dataset"])
def test_a_source_on_s3_gives_the_bytes_of_the_local_one(
    layout: str, s3: str, expected: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_s3(monkeypatch, s3)
    convert(f"s3://sources/{layout}", tmp_path, OPTIONS)
    assert contents(tmp_path) == expected(layout)


def test_folders_of_programs_elsewhere_are_no_classes(tmp_path: Path) -> None:
    for folder in ("cat", "env/icons", "node_modules/a", "lib/site-packages/a"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "000.png").write_bytes(b"an image")
    (tmp_path / "env" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    with file_server(tmp_path) as server:
        assert [each.wnid for each in open_source(server.url).classes] == ["cat"]


# What changes under the job


def folder_of_many(folder: Path) -> list[Path]:
    """An image a file, more of them than there are requests at once."""
    files = [folder / "a" / f"{number:03d}.jpg" for number in range(70)]
    (folder / "a").mkdir(parents=True)
    for number, file in enumerate(files):
        file.write_bytes(bytes([number]) * 1000)
    return files


@pytest.mark.parametrize("kind", ["here", "http", "s3"])
def test_one_of_many_files_that_changes_under_the_job_is_noticed(
    kind: str, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size stays; and it was read before it changed or after it."""
    files = folder_of_many(tmp_path / "many")
    with file_server(tmp_path) as server:
        where = {"here": str(tmp_path / "many"), "http": f"{server.url}/many", "s3": f"s3://many-{tmp_path.name}"}[kind]
        use_s3(monkeypatch, s3)
        bucket = fsspec.filesystem("s3")
        if kind == "s3":
            bucket.mkdir(where)
            for file in files:
                bucket.put_file(str(file), f"{where}/a/{file.name}")
        source = open_source(where)
        images = read_rows(source.root, source.splits["train"])
        assert next(images) == bytes([0]) * 1000
        files[69].write_bytes(b"x" * 1000)
        if kind == "s3":
            bucket.put_file(str(files[69]), f"{where}/a/069.jpg")
        with pytest.raises(ValueError, match=rf"{source.root}/a/069\.jpg was written to: .* run again"):
            list(images)
        again = open_source(where)  # a listing of now, not one that somebody remembers
        assert list(read_rows(again.root, again.splits["train"]))[69] == b"x" * 1000


def test_a_file_of_another_size_that_has_the_old_time_is_another(tmp_path: Path) -> None:
    """As `cp -p` and `rsync -t` may leave it."""
    file = folder_of_many(tmp_path)[3]
    source = open_source(tmp_path)
    times = file.stat()
    file.write_bytes(bytes([3]) * 1001)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ValueError, match=r"003\.jpg was written to"):
        list(read_rows(source.root, source.splits["train"]))


# Servers that fail


def at(fault: str, file: str, first: int, times: int) -> Fault:
    """A fault of the requests for `file` from number `first` on."""
    return lambda name, number: fault if name == file and first <= number < first + times else None


FILES = {"archives": "ILSVRC2012_img_train.tar", "parquet": "train-00000-of-00002.parquet"}


@pytest.mark.parametrize(
    ("layout", "fault"),
    [*(("archives", fault) for fault in ("drop", "stall", "short", "503", "429")), ("parquet", "drop")],
)
def test_faults_that_pass_change_nothing(
    layout: str, fault: str, server: FileServer, expected: Callable, tmp_path: Path, fast: None
) -> None:
    # By the attempt and not in the order of requests, which threads decide: one read could meet each of its faults.
    server.fault_of_attempt = lambda name, attempt: fault if name == FILES[layout] and attempt < 2 else None
    convert(f"{server.url}/{layout}", tmp_path, OPTIONS)
    assert contents(tmp_path) == expected(layout)
    assert max(server.attempts.values()) >= FAST.attempts


@pytest.mark.parametrize("fault", ["drop", "503", "403", "404"])
@pytest.mark.parametrize("when", ["listing", "reading"])
def test_faults_that_stay_are_errors_that_name_the_file(
    when: str, fault: str, server: FileServer, tmp_path: Path, fast: None
) -> None:
    file = FILES["archives"]
    if when == "reading":
        open_source(f"{server.url}/archives")
        first, server.requests = server.requests[file], type(server.requests)()
    server.fault = at(fault, file, first if when == "reading" else 0, 10**6)
    with pytest.raises(OSError, match=f"{server.url}/archives/{file}"):
        convert(f"{server.url}/archives", tmp_path, OPTIONS)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]


# Memory


READ = """
import sys, tracemalloc
import numpy as np, pyarrow as pa
from imagefeed.pipeline.files import input_folder
from imagefeed.pipeline.sources import reader
url, reader.WINDOW = sys.argv[1], int(sys.argv[2])
stamp = input_folder.input_folder_at(url).found("train.tar").stamp
for size, gap, count in [(5_000, 0, 1), (5_000, 0, 4_000), (5_000, 1 << 16, 400), (1 << 20, 0, 20)]:
    offsets = np.arange(count) * (size + gap)
    rows = {"file": ["train.tar"] * count, "offset": offsets, "size": [size] * count, "stamp": [stamp] * count}
    tracemalloc.start()
    assert [len(image) for image in reader.read_rows(url, pa.table(rows))] == [size] * count
    print(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
"""


def test_memory_holds_a_few_windows_however_much_there_is(tmp_path: Path) -> None:
    """Images close together, with gaps that are read through, and larger ones; 20 MB or more of each."""
    window = 1 << 21
    with open(tmp_path / "train.tar", "wb") as file:
        file.truncate(1 << 25)
    with file_server(tmp_path) as server:
        server.answer = read_only(tmp_path / "train.tar", server.answer)  # type: ignore[method-assign]
        command = [sys.executable, "-c", READ, server.url, str(window)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    _, *peaks = map(int, done.stdout.split())  # the first has the libraries begin
    assert len(peaks) == 3 and max(peaks) < 4 * window  # two, and what is under way once more


def read_only(path: Path, answer: Callable) -> Callable:
    """A server that reads no more of a file than it is asked for."""

    def answers(method: str, url: str, headers: dict) -> tuple[int, dict[str, str], bytes]:
        if "Range" not in headers:
            return answer(method, url, headers)
        first, last = map(int, headers["Range"].removeprefix("bytes=").split("-"))
        with open(path, "rb") as file:
            file.seek(first)
            return 206, {}, file.read(last + 1 - first)

    return answers


RANGES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1 << 22), st.integers(0, 1 << 16)), min_size=1, max_size=40
)


@given(RANGES)
def test_requests_hold_each_range_and_little_more(ranges: list[tuple[int, int, int]]) -> None:
    """Numbers alone: no bytes are made."""
    files, offsets, sizes = (np.array(column, np.int64) for column in zip(*ranges, strict=True))
    requests, of_row = reader.coalesce(files, offsets, sizes)
    for (file, offset, size), request in zip(ranges, (requests[number] for number in of_row), strict=True):
        assert request.file == file
        assert request.start <= offset and offset + size <= request.start + request.size
        assert request.size <= max(reader.LARGEST, sizes.max())
    assert sum(request.size for request in requests) <= (sizes + reader.GAP).sum()


@given(st.lists(st.integers(0, 1 << 27), min_size=1, max_size=60))
def test_windows_hold_all_rows_in_order_and_are_bounded(sizes: list[int]) -> None:
    limits = reader.windows(np.array(sizes))
    assert [row for start, stop in limits for row in range(start, stop)] == list(range(len(sizes)))
    for start, stop in limits:
        assert stop == start + 1 or sum(size + reader.GAP for size in sizes[start:stop]) <= reader.WINDOW

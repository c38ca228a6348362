"""The loader's laws: every sample once, the same pixels whoever asks, exact resuming, named errors, no hang."""

import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.files.mapped_file import page_to_ask
from imagefeed.pipeline.loader.batches import Batch
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from imagefeed.pipeline.loader.device import to_device
from tests.dataset.test_split import forge
from tests.support import reference
from tests.support.compiling import apart_from_compiling
from tests.support.threads import SOON, shared

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("leaves_no_thread")
CHEAP: dict[str, Any] = {"dtype": "uint8", "layout": "NHWC", "num_threads": 2}


@pytest.fixture(scope="module")
def raw(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`images` as betons of raw pixels."""
    out = tmp_path_factory.mktemp("raw")
    convert(images, out, ConvertOptions(format="beton", raw=True, shard_size=10))
    return out


@pytest.fixture(scope="module")
def train(shards: Path) -> Dataset:
    return open_dataset(shards / "tar" / "train")


@pytest.fixture
def spoilt(shards: Path, tmp_path: Path) -> Path:
    """A copy of the tar training split, to be spoilt."""
    return Path(shutil.copytree(shards / "tar" / "train", tmp_path / "train"))


def rows(batches: Any) -> list[tuple[int, int, bytes]]:
    """(id, label, the bytes of its image) of every valid row, in order."""
    found = []
    for batch in batches:
        for i in batch.valid.nonzero().flatten().tolist():
            pixels = batch.images[i].reshape(-1).view(torch.uint8).numpy().tobytes()
            found.append((int(batch.sample_ids[i]), int(batch.labels[i]), pixels))
    return found


def ids(batches: Any) -> list[int]:
    return [sample_id for sample_id, _, _ in rows(batches)]


# Pixels


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "uint8"])
def test_training_images_are_those_of_the_slow_twin(train: Dataset, dtype: str, layout: str) -> None:
    options: dict[str, Any] = {"dtype": dtype, "layout": layout, "seed": 11}
    loader = train.loader(batch_size=16, num_threads=2, **options)
    for epoch in range(2):
        for batch in loader:
            for i in batch.valid.nonzero().flatten().tolist():
                row = train.columns.id.tolist().index(int(batch.sample_ids[i]))
                expected = reference.sample_image(train, row, train, epoch, **options)
                assert batch.images[i].dtype == expected.dtype and torch.equal(batch.images[i], expected)
                assert batch.labels[i] == train.columns.label[row]


@pytest.mark.parametrize("recipe", ["alexnet", "resnet", "ten-crop"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "uint8"])
def test_channels_last_is_another_view_of_the_same_memory(train: Dataset, dtype: str, recipe: str) -> None:
    options: dict[str, Any] = {"recipe": recipe, "dtype": dtype, "batch_size": 16, "crop_size": 64}
    pixel_by_pixel, loader = (train.loader(layout=layout, **options) for layout in ("NHWC", "channels_last"))
    for expected, batch in zip(pixel_by_pixel, loader, strict=True):
        views = (10,) if recipe == "ten-crop" else ()
        assert batch.images.shape == (16, *views, 3, 64, 64)
        assert batch.images.flatten(0, -4).is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(batch.images.movedim(-3, -1), expected.images)
        assert torch.equal(batch.labels, expected.labels)
    assert not batch.valid.all() and not batch.images[~batch.valid].any()


@pytest.mark.parametrize("recipe", ["eval", "ten-crop"])
@pytest.mark.parametrize("format", ["tar", "beton"])
def test_validation_images_are_those_of_the_slow_twin(shards: Path, train: Dataset, recipe: Any, format: str) -> None:
    val = open_dataset(shards / format / "val")
    (batch,) = val.loader(recipe=recipe, batch_size=len(val))
    assert batch.sample_ids.tolist() == list(range(9))  # not shuffled
    assert batch.images.shape == ((9, 10, 3, 224, 224) if recipe == "ten-crop" else (9, 3, 224, 224))
    for row in range(9):
        assert torch.equal(batch.images[row], reference.sample_image(val, row, train, 0, recipe=recipe))


def test_raw_pixels_go_the_same_way(raw: Path) -> None:
    stored = open_dataset(raw / "train")
    outputs: list[dict[str, Any]] = [{"dtype": "float32", "layout": "NCHW"}, {"dtype": "uint8", "layout": "NHWC"}]
    for options in outputs:
        for batch in stored.loader(batch_size=10, **options):
            for i in batch.valid.nonzero().flatten().tolist():
                row = stored.columns.id.tolist().index(int(batch.sample_ids[i]))
                assert torch.equal(batch.images[i], reference.sample_image(stored, row, stored, 0, **options))


def test_another_crop_size_is_cut_the_same_way(train: Dataset) -> None:
    (batch,) = train.loader(batch_size=28, crop_size=101, seed=3)
    for i, sample_id in enumerate(batch.sample_ids.tolist()):
        row = train.columns.id.tolist().index(sample_id)
        assert torch.equal(batch.images[i], reference.sample_image(train, row, train, 0, crop_size=101, seed=3))


@pytest.fixture(scope="module")
def known(train: Dataset) -> dict[tuple[int, int], dict[int, tuple[int, bytes]]]:
    """For two (seed, epoch): what each id must give, from the plainest loader there is."""
    return {
        (seed, epoch): {
            sample_id: (label, pixels)
            for batch in plain_epoch(train, seed, epoch)
            for sample_id, label, pixels in rows([batch])
        }
        for seed, epoch in ((0, 0), (2**64 - 1, 2**32 - 1))
    }


def plain_epoch(dataset: Dataset, seed: int, epoch: int) -> list[Batch]:
    loader = dataset.loader(batch_size=1, seed=seed, dtype="float16", layout="NHWC", num_threads=1, prefetch=1)
    loader.set_epoch(epoch)
    return list(loader)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    case=st.sampled_from([(0, 0), (2**64 - 1, 2**32 - 1)]),
    format=st.sampled_from(["tar", "beton"]),
    batch_size=st.integers(1, 40),
    world_size=st.integers(1, 4),
    num_threads=st.integers(1, 4),
    prefetch=st.integers(1, 4),
    shuffle=st.booleans(),
)
def test_every_sample_once_with_the_same_pixels_whoever_asks(
    shards: Path, known: dict, case: tuple, format: str, batch_size: int, world_size: int, shuffle: bool, **how: Any
) -> None:
    seed, epoch = case
    dataset = open_dataset(shards / format / "train")
    seen: list[tuple[int, int, bytes]] = []
    for rank in range(world_size):
        loader = dataset.loader(
            batch_size=batch_size, rank=rank, world_size=world_size, seed=seed, shuffle=shuffle,
            dtype="float16", layout="NHWC", **how,
        )  # fmt: skip
        loader.set_epoch(epoch)
        batches = list(loader)
        assert len(batches) == len(loader) == -(-28 // (batch_size * world_size))
        seen += rows(batches)
    assert len(seen) == 28
    assert {sample_id: (label, pixels) for sample_id, label, pixels in seen} == known[case]


def test_the_order_is_global_and_that_of_the_slow_twin(train: Dataset) -> None:
    expected = reference.epoch_ids(train.columns.id.tolist(), seed=5, epoch=0)
    ranks = [list(train.loader(batch_size=3, rank=rank, world_size=2, seed=5, **CHEAP)) for rank in range(2)]
    assert [i for pair in zip(*ranks, strict=True) for i in ids(pair)] == expected


def test_padded_rows_are_blank_and_marked(train: Dataset) -> None:
    loader = train.loader(batch_size=10, world_size=2, rank=1, **CHEAP)
    for _ in range(2):  # the second epoch fills memory that held images before
        full, last = loader
        assert full.valid.all() and last.valid.tolist() == [False] * 10
        assert not last.images.any() and last.images.shape == full.images.shape
        assert last.labels.tolist() == [-100] * 10 and last.sample_ids.tolist() == [-1] * 10


def test_dropping_leaves_out_the_incomplete_global_batch(train: Dataset) -> None:
    loader = train.loader(batch_size=5, rank=0, world_size=2, drop_last=True, **CHEAP)
    batches = list(loader)
    assert len(batches) == len(loader) == 2 and all(batch.valid.all() for batch in batches)


def test_uint8_needs_no_statistics(shards: Path, tmp_path: Path) -> None:
    alone = open_dataset(shutil.copytree(shards / "tar" / "val", tmp_path / "val"))
    assert len(list(alone.loader(recipe="eval", dtype="uint8"))) == 1
    with pytest.raises(ValueError, match="is not a training split and there is no 'train' beside it: say"):
        alone.loader(recipe="eval")
    (batch,) = alone.loader(recipe="eval", batch_size=9, statistics=shards / "tar" / "train")
    (expected,) = open_dataset(shards / "tar" / "val").loader(recipe="eval", batch_size=9)
    assert torch.equal(batch.images, expected.images)


# Holding batches


def test_a_list_of_batches_is_right(train: Dataset) -> None:
    loader = train.loader(batch_size=4, prefetch=3, **CHEAP)
    one_by_one = [rows([batch])[0] for batch in loader]
    loader.set_epoch(0)
    kept = list(loader)
    assert [rows([batch])[0] for batch in kept] == one_by_one
    del loader
    gc.collect()
    assert [rows([batch])[0] for batch in kept] == one_by_one


def test_a_plain_loop_runs_on_a_handful_of_buffers(train: Dataset) -> None:
    loader = train.loader(batch_size=2, prefetch=2, **CHEAP)
    places = {batch.images.data_ptr() for _ in range(3) for batch in loader}
    assert len(places) <= 5


# Epochs, position, resuming


def test_each_for_is_the_next_epoch(train: Dataset) -> None:
    loader = train.loader(batch_size=8, **CHEAP)
    epochs = [ids(loader) for _ in range(3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3 and all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs)
    loader.set_epoch(1)
    assert ids(loader) == epochs[1] and ids(loader) == epochs[2]
    next(iter(loader))  # epoch 3, left at once
    loader.set_epoch(0)
    assert ids(loader) == epochs[0]


def test_leaving_an_epoch_early_goes_on_to_the_next(train: Dataset) -> None:
    loader = train.loader(batch_size=8, **CHEAP)
    whole = [ids(loader) for _ in range(2)]
    again = train.loader(batch_size=8, **CHEAP)
    for _ in again:
        break
    assert ids(again) == whole[1]


def test_the_position_is_that_of_the_caller_and_not_of_the_threads(train: Dataset) -> None:
    loader = train.loader(batch_size=5, rank=0, world_size=2, prefetch=4, **CHEAP)
    assert loader.state_dict() == {"seed": 0, "epoch": 0, "position": 0}
    iterator = iter(loader)
    time.sleep(0.1)
    assert loader.state_dict()["position"] == 0
    positions = [loader.state_dict()["position"] for _ in iterator]
    assert positions == [10, 20, 28]
    assert loader.state_dict() == {"seed": 0, "epoch": 1, "position": 0}
    assert next(iterator, None) is None
    assert loader.state_dict() == {"seed": 0, "epoch": 1, "position": 0}


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch_size=st.integers(1, 9),
    world_size=st.integers(1, 3),
    stop=st.integers(0, 28),
    after=st.tuples(st.integers(1, 9), st.integers(1, 3)),
    format=st.sampled_from(["tar", "beton"]),
)
def test_resuming_anywhere_on_any_world_size_is_as_if_nothing_had_happened(
    shards: Path, train: Dataset, batch_size: int, world_size: int, stop: int, after: tuple, format: str
) -> None:
    uninterrupted = [rows(train.loader(batch_size=28, seed=4, **CHEAP)), rows(second_epoch(train))]
    ranks = [
        train.loader(batch_size=batch_size, rank=r, world_size=world_size, seed=4, **CHEAP) for r in range(world_size)
    ]
    iterators = [iter(rank) for rank in ranks]
    before = []
    for _ in range(min(stop, len(ranks[0]))):
        before += [row for iterator in iterators for row in rows([next(iterator)])]
    state = json.loads(json.dumps(ranks[0].state_dict()))  # as a checkpoint keeps it
    assert all(rank.state_dict() == state for rank in ranks)

    other = open_dataset(shards / format / "train")
    resumed = [other.loader(batch_size=after[0], rank=r, world_size=after[1], **CHEAP) for r in range(after[1])]
    for rank in resumed:
        rank.load_state_dict(state)
        rank.set_epoch(0)  # as loops do that call it before every epoch
    rest = [row for batches in zip(*resumed, strict=True) for batch in batches for row in rows([batch])]
    assert before + rest == uninterrupted[0]
    following = [row for batches in zip(*resumed, strict=True) for batch in batches for row in rows([batch])]
    assert following == uninterrupted[1]


def second_epoch(dataset: Dataset) -> Any:
    loader = dataset.loader(batch_size=28, seed=4, **CHEAP)
    loader.set_epoch(1)
    return loader


def test_resuming_behind_the_last_batch_ends_the_epoch_at_once(train: Dataset) -> None:
    loader = train.loader(batch_size=28, **CHEAP)
    iterator = iter(loader)
    next(iterator)
    state = loader.state_dict()
    assert state == {"seed": 0, "epoch": 0, "position": 28}
    resumed = train.loader(batch_size=28, **CHEAP)
    resumed.load_state_dict(state)
    assert list(resumed) == [] and resumed.state_dict() == {"seed": 0, "epoch": 1, "position": 0}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"seed": 0, "epoch": 0}, "a loader's state has the integers seed, epoch, position"),
        ({"seed": 0, "epoch": 0, "position": 0, "rank": 1}, "a loader's state has the integers"),
        ({"seed": 0, "epoch": 0, "position": 1.5}, "a loader's state has the integers"),
        ({"seed": 0, "epoch": -1, "position": 0}, "seed or epoch is out of range"),
        ({"seed": 0, "epoch": 0, "position": 29}, "position 29 is beyond the 28 samples of .*: it belongs to another"),
        ({"seed": 0, "epoch": 0, "position": -1}, "position -1 is beyond"),
    ],
)
def test_a_state_of_something_else_is_refused(train: Dataset, state: dict, message: str) -> None:
    loader = train.loader(**CHEAP)
    with pytest.raises(ValueError, match=message):
        loader.load_state_dict(state)
    assert loader.state_dict() == {"seed": 0, "epoch": 0, "position": 0}


# Bad bytes


def alter(split: Path, row: int, at: int, length: int = 1) -> str:
    """Inverts bytes of one sample's payload; returns how messages name the sample."""
    dataset = open_dataset(split)
    shard = split / dataset.manifest.shards[dataset.columns.shard[row]].name
    data = bytearray(shard.read_bytes())
    first = int(dataset.columns.offset[row]) + at
    data[first : first + length] = bytes(byte ^ 0xFF for byte in data[first : first + length])
    shard.write_bytes(data)
    return f"{shard.name}: sample {dataset.columns.id[row]} ({dataset.samples['key'][row]})"


def test_an_altered_byte_is_an_error_that_names_shard_and_sample(spoilt: Path) -> None:
    name = alter(spoilt, 17, at=3000)
    loader = open_dataset(spoilt).loader(batch_size=4, recipe="eval", **CHEAP)
    batches = iter(loader)
    started = time.monotonic()
    assert ids([next(batches) for _ in range(4)]) == open_dataset(spoilt).columns.id[:16].tolist()
    with pytest.raises(ValueError, match=re.escape(name)) as error:
        next(batches)
    assert "not those that were written (XXH3 differs); restore" in str(error.value)
    assert time.monotonic() - started < SOON
    assert loader.state_dict()["position"] == 16
    with pytest.raises(RuntimeError, match="closed"):
        next(batches)


def test_bytes_that_do_not_decode_are_an_error_also_without_hashes(spoilt: Path) -> None:
    name = alter(spoilt, 5, at=0, length=200)
    with pytest.raises(ValueError, match=re.escape(name)) as error:
        list(open_dataset(spoilt).loader(verify=False, **CHEAP))
    assert "no JPEG that decodes without a guess" in str(error.value)


def test_a_jpeg_of_another_size_is_an_error(spoilt: Path) -> None:
    dataset = open_dataset(spoilt)
    shard = spoilt / dataset.manifest.shards[dataset.columns.shard[8]].name
    data = bytearray(shard.read_bytes())
    first = int(dataset.columns.offset[8])
    frame = data.index(b"\xff\xc0", first)  # start of frame: height is the 6th and 7th byte
    data[frame + 5 : frame + 7] = (248).to_bytes(2, "big")
    shard.write_bytes(data)
    with pytest.raises(ValueError, match=r"shard-0000\d.tar: sample \d+ \(.*\): its image has another size"):
        list(dataset.loader(verify=False, **CHEAP))


def test_altered_raw_pixels_are_an_error(raw: Path, tmp_path: Path) -> None:
    split = Path(shutil.copytree(raw / "train", tmp_path / "train"))
    name = alter(split, 2, at=1000)
    with pytest.raises(ValueError, match=re.escape(name)):
        list(open_dataset(split).loader(**CHEAP))


def test_a_shard_cut_short_under_the_loader_is_an_error_and_not_a_crash(spoilt: Path) -> None:
    if page_to_ask() == 0:
        pytest.skip("this kernel cannot tell (Linux before 5.14)")
    dataset = open_dataset(spoilt)
    loader = dataset.loader(batch_size=4, **CHEAP)
    list(loader)  # every shard is mapped now
    for shard in spoilt.glob("*.tar"):
        os.truncate(shard, 512)
    with pytest.raises(ValueError, match=r"shard-0000\d.tar: sample \d+ \(.*\): its bytes cannot be read"):
        list(loader)


def test_a_shard_that_is_replaced_before_it_is_mapped_is_an_error(spoilt: Path) -> None:
    loader = open_dataset(spoilt).loader(**CHEAP)
    for shard in spoilt.glob("*.tar"):
        os.truncate(shard, 5_000)
    with pytest.raises(ValueError, match=r"shard-0000\d.tar has 5000 bytes and not the \d+ that were written"):
        list(loader)


def test_a_table_that_points_elsewhere_is_an_error(spoilt: Path) -> None:
    forge(spoilt, "offset", 6, int(open_dataset(spoilt).columns.offset[6]) + 1)
    with pytest.raises(ValueError, match="its bytes are not those that were written"):
        list(open_dataset(spoilt).loader(**CHEAP))


def test_raw_pixels_of_another_size_are_refused(raw: Path, tmp_path: Path) -> None:
    split = Path(shutil.copytree(raw / "train", tmp_path / "train"))
    forge(split, "size", 1, 256 * 256 * 3 - 1)
    with pytest.raises(ValueError, match="row 1, has another size than its pixels"):
        open_dataset(split).loader(**CHEAP)


# Threads


def test_leaving_in_any_way_leaves_no_thread_and_no_hang(train: Dataset) -> None:
    loader = train.loader(batch_size=2, prefetch=3, num_threads=4, dtype="uint8", layout="NHWC")
    for _ in loader:
        break
    with pytest.raises(KeyError):
        for _ in loader:
            raise KeyError("the caller's own")
    iter(loader)  # dropped before its first batch
    held = iter(loader)
    next(held)
    held.close()
    with pytest.raises(RuntimeError, match="closed"):
        next(held)  # fixture: no thread is left


def test_several_loaders_and_iterators_at_once(shards: Path, train: Dataset) -> None:
    val = open_dataset(shards / "beton" / "val")
    first, second = train.loader(batch_size=4, **CHEAP), train.loader(batch_size=4, seed=1, **CHEAP)
    expected = [rows(train.loader(batch_size=4, **CHEAP)), rows(train.loader(batch_size=4, seed=1, **CHEAP))]
    pairs = []
    for pair in zip(first, second, strict=True):
        pairs.append(pair)
        assert len(list(val.loader(recipe="eval", dtype="uint8"))) == 1  # validation in the middle of an epoch
    assert [rows(side) for side in zip(*pairs, strict=True)] == expected
    twice = [(a, b) for a, b in zip(first, first, strict=True)]  # two epochs of one loader, side by side
    assert ids(a for a, _ in twice) != ids(b for _, b in twice)
    assert first.state_dict() == {"seed": 0, "epoch": 3, "position": 0}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of what is tested here
@pytest.mark.parametrize("kind", ["batches", "pairs", "device", "transform"])
def test_threads_that_share_an_iterator_get_each_sample_once_and_end(kind: str, train: Dataset) -> None:
    options = {"transform": torch.clone} if kind == "transform" else CHEAP
    loader = train.loader(batch_size=3, **options)
    given: Any = loader.pairs() if kind == "pairs" else to_device(loader, "cpu") if kind == "device" else loader
    found = shared(given)
    if kind == "pairs":
        assert sum(len(labels) for _, labels in found) == len(train)
    else:
        ids = torch.cat([batch.sample_ids[batch.valid] for batch in found])
        assert sorted(ids.tolist()) == sorted(train.columns.id.tolist())


def test_a_fork_after_and_during_use(train: Dataset) -> None:
    loader = train.loader(batch_size=7, **CHEAP)
    list(loader)
    running = iter(loader)
    next(running)
    child = os.fork()
    if child == 0:  # pragma: no cover
        status = 1
        try:
            loader.set_epoch(0)
            if len(ids(loader)) == 28:  # a new iterator has threads of its own
                status = 2
                next(running)  # the parent's has none here
        except RuntimeError as error:
            status = 0 if "fork" in str(error) else 3
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(ids(running)) == 21


def python(code: str, **options: Any) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-W", "error", "-c", code], cwd=ROOT, text=True, **options)


def test_python_exits_at_once_with_iterators_alive_and_their_threads_ended(train: Dataset) -> None:
    code = f"""
import atexit, threading
atexit.register(lambda: print("exits with", threading.active_count(), "thread"))  # runs after what comes later
from imagefeed import open_dataset
loader = open_dataset({str(train.path)!r}).loader(batch_size=2, num_threads=3, dtype="uint8", layout="NHWC")
held = [iter(loader) for _ in range(3)]
print(threading.active_count(), "threads", len([next(each) for each in held]), "batches")
"""
    process = python(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, apart_from_compiling(err)) == (0, "")
    assert out == "10 threads 3 batches\nexits with 1 thread\n"


def test_ctrl_c_ends_the_wait_for_a_batch(train: Dataset) -> None:
    """A decoder that never comes back to claim more: the main thread waits, and must still hear Ctrl-C."""
    code = f"""
import time
from imagefeed.pipeline.loader.batches import BatchTask
from imagefeed import open_dataset
loader = open_dataset({str(train.path)!r}).loader(batch_size=4, num_threads=2, dtype="uint8", layout="NHWC")
BatchTask.work = lambda self, scratch: time.sleep(0.01)
print("waiting", flush=True)
try:
    next(iter(loader))
except KeyboardInterrupt:
    print("interrupted")
"""
    process = python(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == "waiting\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, apart_from_compiling(err)) == (0, "interrupted\n", "")


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "vgg"}, "recipe must be one of alexnet, alexnet-2012, resnet, eval, ten-crop, not 'vgg'"),
        ({"dtype": "float64"}, "dtype must be one of float32, float16, bfloat16, uint8, not 'float64'"),
        ({"layout": "CHWN"}, "layout must be one of NCHW, NHWC, channels_last, not 'CHWN'"),
        ({"batch_size": 0}, "batch_size must be an integer from 1 to 16777216, not 0"),
        ({"rank": 1, "world_size": 1}, r"rank must be in \[0, 1\)"),
        ({"rank": 1}, "give both rank and world_size, or neither"),
        ({"prefetch": 0}, "prefetch must be an integer from 1 to 4096, not 0"),
        ({"num_threads": 0}, "num_threads must be one of an integer from 1 to 4096, None, not 0"),
        ({"seed": -1}, "seed must be an integer from 0 to 18446744073709551615, not -1"),
        ({"crop_size": 0}, "crop_size must be one of an integer from 1 to 13377, a function, not 0"),
        ({"crop_size": 257}, "is stored as 256x256: choose a crop_size below 257"),
    ],
)
def test_options_that_cannot_be_are_refused(train: Dataset, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train.loader(**options)


def test_pinned_batches_are_those_of_any_memory(train: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU the path is run with memory that is not pinned."""
    expected = [rows([batch]) for batch in train.loader(batch_size=8, dtype="bfloat16")]
    has_gpu = torch.cuda.is_available()
    if not has_gpu:
        empty = torch.empty
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch, "empty", lambda *shape, pin_memory=False, **options: empty(*shape, **options))
    pinned = list(train.loader(batch_size=8, dtype="bfloat16", pin_memory=True))
    assert [rows([batch]) for batch in pinned] == expected
    assert not has_gpu or all(batch.images.is_pinned() for batch in pinned)


def test_an_epoch_out_of_range_is_refused(train: Dataset) -> None:
    with pytest.raises(ValueError, match="epoch must be in"):
        train.loader(**CHEAP).set_epoch(-1)

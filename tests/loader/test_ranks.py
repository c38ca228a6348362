"""No sample comes twice without a word: ranks that nobody gave, workers of a DataLoader, Lightning on two ranks."""

import json
import os
import pickle
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader, IterableDataset

from imagefeed.jobs.evaluation.crops import images_of
from imagefeed.pipeline.bench.measure import loader_options
from imagefeed.pipeline.bench.results import BenchOptions
from imagefeed.pipeline.loader.batches import Batch
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from imagefeed.pipeline.loader.device import to_device
from imagefeed.pipeline.loader.loader import Loader
from imagefeed.pipeline.loader.options import LoaderOptions
from tests.support.pictures import encoded, picture
from tests.support.processes import run_whole
from tests.support.splits import Payload, write_split

ROOT = Path(__file__).resolve().parents[2]
CHEAP: dict[str, Any] = {"dtype": "uint8", "layout": "NHWC", "num_threads": 1, "crop_size": 32, "resize": 0}
SEVERAL = {"RANK": "1", "WORLD_SIZE": "2"}


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """40 samples in one shard."""
    payloads = [Payload(encoded(picture(i, 40, 44)), height=40, width=44) for i in range(40)]
    return write_split(tmp_path_factory.mktemp("forty") / "train", payloads)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing of ranks."""
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def ids(batches: Any) -> list[int]:
    return [int(each) for batch in batches for each in batch.sample_ids[batch.valid]]


# Ranks that nobody gave


def test_ranks_are_torchruns_unless_given(alone: pytest.MonkeyPatch) -> None:
    assert (LoaderOptions().rank, LoaderOptions().world_size) == (0, 1)
    for name, value in SEVERAL.items():
        alone.setenv(name, value)
    found, given = LoaderOptions(), LoaderOptions(rank=0, world_size=1)
    assert (found.rank, found.world_size, found.ranks_found) == (1, 2, True)
    assert (given.rank, given.world_size, given.ranks_found) == (0, 1, False)
    alone.setenv("WORLD_SIZE", "7")  # which comes too late
    assert (replace(found, seed=3).rank, replace(found, seed=3).world_size) == (1, 2)


@pytest.mark.parametrize("given", [{"rank": 0}, {"world_size": 2}])
def test_one_of_the_two_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="give both rank and world_size, or neither"):
        LoaderOptions(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("told", [{"WORLD_SIZE": "2"}, {"RANK": "1"}, {"RANK": "0"}])
def test_half_of_the_ranks_is_refused_once_batches_are_wanted(
    forty: Dataset, alone: pytest.MonkeyPatch, told: dict[str, str]
) -> None:
    for name, value in told.items():
        alone.setenv(name, value)
    loader = forty.loader(batch_size=8, **CHEAP)  # Lightning's processes have WORLD_SIZE alone, until they have a group
    with pytest.raises(RuntimeError, match="does not say which rank .*give it rank and world_size"):
        iter(loader)
    assert len(ids(forty.loader(batch_size=8, rank=1, world_size=2, **CHEAP))) == 16
    alone.setenv("RANK", "x")
    alone.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="the environment's ranks are not numbers: .*'x'"):
        LoaderOptions()


def test_what_must_see_everything_does_on_every_rank(shards: Path, alone: pytest.MonkeyPatch) -> None:
    for name, value in SEVERAL.items():
        alone.setenv(name, value)
    train = open_dataset(shards / "tar" / "train")
    assert len(train.loader(batch_size=7, **CHEAP)) == 2
    wanted = train.columns.id.tolist()
    assert sorted(images_of(train, wanted)) == wanted
    assert loader_options(BenchOptions(), 1, "uint8", "NHWC").world_size == 1


RANKED = """
import json, os, sys
from pathlib import Path
import torch.distributed as dist
from imagefeed import open_dataset

train, options = open_dataset(sys.argv[1]), json.loads(sys.argv[2])

def ids(**more):
    batches = train.loader(batch_size=6, **options, **more)
    return [int(each) for batch in batches for each in batch.sample_ids[batch.valid]]

found = {"torchrun": ids()}
rank, size = (int(os.environ.pop(name)) for name in ("RANK", "WORLD_SIZE"))
early = train.loader(**options)
dist.init_process_group("gloo", rank=rank, world_size=size)
found |= {"group": ids(), "given": ids(rank=0, world_size=1)}
try:
    next(iter(early))
except RuntimeError as error:
    found["early"] = str(error)
Path(sys.argv[3], f"{rank}.json").write_text(json.dumps(found))
dist.destroy_process_group()
"""


def test_two_processes_of_torchrun_read_a_half_each(forty: Dataset, tmp_path: Path) -> None:
    program = tmp_path / "ranked.py"
    program.write_text(RANKED)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    run(*torchrun, str(program), str(forty.path), json.dumps(CHEAP), str(tmp_path))
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    for how in ("torchrun", "group"):
        assert len(first[how]) == 22 and len(second[how]) == 18  # in batches of six; the last one is padded
        assert sorted(first[how] + second[how]) == list(range(40))
    assert sorted(first["given"]) == sorted(second["given"]) == list(range(40))
    for rank, found in enumerate((first, second)):
        assert f"was made as rank 0 of 1, and the process is rank {rank} of 2 now" in found["early"]


def run(*words: str) -> None:
    """Runs Python with `words` as several processes of one thread, in the checkout."""
    more = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", *words]
    with tempfile.TemporaryFile("w+") as said:  # no pipe, which a worker that is left would keep open
        status = run_whole(command, env=os.environ | more, stdout=said, stderr=said)
        said.seek(0)
        assert status == 0, said.read()[-3000:]


# Workers of a DataLoader


class Epochs(IterableDataset):
    """As docs/interop.md has it."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.loader)


def test_a_dataloader_without_workers_goes_through_the_epochs(forty: Dataset) -> None:
    batches = DataLoader(Epochs(forty.loader(batch_size=8, **CHEAP)), batch_size=None, num_workers=0)
    first, second = ids(batches), ids(batches)
    assert sorted(first) == sorted(second) == list(range(40)) and first != second


# A process of its own: torch tells whatever runs next in this one that a worker, which was still starting, has ended.
WORKERS = """
import json, os, sys
from torch.utils.data import DataLoader
from imagefeed import open_dataset
from tests.loader.test_ranks import Epochs

if __name__ == "__main__":
    split, cheap, method, workers = sys.argv[1:]
    loader = open_dataset(split).loader(batch_size=8, **json.loads(cheap))
    batches = DataLoader(Epochs(loader), batch_size=None, num_workers=int(workers), multiprocessing_context=method)
    try:
        next(iter(batches))
    except RuntimeError as error:
        os._exit(0 if "use num_workers=0, as the loader has threads of its own" in str(error) else 3)
    os._exit(4)
"""


@pytest.mark.parametrize(("method", "workers"), [("fork", 1), ("fork", 2), ("spawn", 1), ("spawn", 2)])
def test_a_worker_of_a_dataloader_is_refused(forty: Dataset, tmp_path: Path, method: str, workers: int) -> None:
    program = tmp_path / "workers.py"
    program.write_text(WORKERS)
    run(str(program), str(forty.path), json.dumps(CHEAP), method, str(workers))


def test_a_pickled_loader_goes_on_where_it_stood(forty: Dataset) -> None:
    loader = forty.loader(batch_size=8, seed=3, **CHEAP)
    batches = iter(loader)
    next(batches)
    other = pickle.loads(pickle.dumps(loader))  # noqa: S301 -- made here
    assert other.options == loader.options and other.state_dict() == loader.state_dict()
    assert ids(other) == ids(batches)


# What Lightning does with a loader


@pytest.mark.parametrize(
    "wrap", [lambda loader: loader, lambda loader: to_device(loader, "cpu")], ids=["host", "device"]
)
def test_the_epoch_that_a_sampler_is_told_reaches_an_iterator_that_gave_nothing_yet(forty: Dataset, wrap: Any) -> None:
    plain = forty.loader(batch_size=8, **CHEAP)
    epochs = [ids(plain) for _ in range(4)]
    loader = wrap(forty.loader(batch_size=8, **CHEAP))
    batches = iter(loader)
    loader.sampler.set_epoch(0)
    head = ids([next(batches), next(batches)])
    state = loader.state_dict()
    assert head == epochs[0][:16] and state == {"seed": 0, "epoch": 0, "position": 16}

    other = wrap(forty.loader(batch_size=8, **CHEAP))
    other.load_state_dict(state)
    batches = iter(other)
    other.sampler.set_epoch(0)
    assert ids(batches) == epochs[0][16:]

    other.load_state_dict(state)
    batches = iter(other)
    other.sampler.set_epoch(2)  # another epoch than the one that it began
    assert ids(batches) == epochs[2] and ids(other) == epochs[3]


@pytest.mark.parametrize(
    "wrap", [lambda loader: loader, lambda loader: to_device(loader, "cpu")], ids=["host", "device"]
)
def test_an_iterator_that_was_asked_for_nothing_takes_nothing(forty: Dataset, wrap: Any) -> None:
    plain = forty.loader(batch_size=8, **CHEAP)
    epochs = [ids(plain) for _ in range(2)]
    loader = wrap(forty.loader(batch_size=8, **CHEAP))
    iter(loader)
    batches = iter(loader)
    assert loader.state_dict() == {"seed": 0, "epoch": 0, "position": 0}
    loader.load_state_dict({"seed": 0, "epoch": 1, "position": 16})  # with an iterator that is there already
    assert ids(batches) == epochs[1][16:]
    loader.set_epoch(0)
    assert ids(loader) == epochs[0]


def test_a_closed_iterator_stays_closed(forty: Dataset) -> None:
    loader = forty.loader(batch_size=8, **CHEAP)
    batches = loader.__iter__()
    batches.close()
    loader.set_epoch(2)
    with pytest.raises(RuntimeError, match="closed"):
        next(batches)


LIGHTNING = """
import json, sys
from pathlib import Path
from lightning.pytorch.callbacks import ModelCheckpoint

out = Path(sys.argv[1])


class Noting(Net):
    def __init__(self):
        super().__init__()
        self.seen = []

    def training_step(self, batch, number):
        self.seen.append([self.current_epoch, number, batch.sample_ids[batch.valid].tolist()])
        return super().training_step(batch._replace(images=batch.images.permute(0, 3, 1, 2) / 255), number)


def fit(name, start=None, callbacks=(), **limits):
    net = Noting()
    trainer = lightning.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_progress_bar=False, default_root_dir=out,
        enable_checkpointing=bool(callbacks), callbacks=list(callbacks), **{"max_epochs": 3} | limits,
    )
    trainer.fit(net, Images(), ckpt_path=start and out / start)
    (out / f"{name}-{trainer.global_rank}.json").write_text(json.dumps(net.seen))


fit("whole", callbacks=[
    ModelCheckpoint(out, "{step}", save_top_k=-1, every_n_train_steps=1),
    ModelCheckpoint(out, "end-{epoch}", save_top_k=-1, every_n_epochs=1),
])
for start in ("step=2", "step=4", "step=7", "end-epoch=0", "end-epoch=1"):
    fit(start, f"{start}.ckpt")
fit("cut", callbacks=[ModelCheckpoint(out, "cut-{epoch}", save_top_k=-1, every_n_epochs=1)], limit_train_batches=2)
fit("uncut", "cut-epoch=0.ckpt")
"""


def test_the_documented_step_has_loss_0_for_a_rank_that_has_padding_alone(forty: Dataset) -> None:
    blocks = dict(re.findall(r"```python (\w+)\n(.*?)```", (ROOT / "docs" / "interop.md").read_text(), re.DOTALL))
    names: dict[str, Any] = {}
    exec(blocks["lightning"].partition("\ntrainer = ")[0].replace("Linear(147", "Linear(3"), names)  # noqa: S102
    loader = forty.loader(batch_size=6, recipe="eval", crop_size=32, resize=0, mean=0, rank=1, world_size=2)
    *_, last = loader
    assert not last.valid.any()
    loss = names["Net"]().training_step(last, 0)
    loss.backward()
    assert loss.item() == 0.0


@pytest.mark.parametrize("asked", [False, True], ids=["", "number of steps asked"])
def test_lightning_goes_on_exactly_on_two_ranks(forty: Dataset, tmp_path: Path, asked: bool) -> None:
    """40 samples in global batches of twelve are four steps an epoch; in the last one, rank 1 has padding alone."""
    blocks = dict(re.findall(r"```python (\w+)\n(.*?)```", (ROOT / "docs" / "interop.md").read_text(), re.DOTALL))
    example = blocks["setup"] + blocks["lightning"].partition("\ntrainer = ")[0]
    example = example.replace("/data/imagenet-256/train", str(forty.path)).replace("Linear(147", "Linear(3")
    if asked:  # before Lightning has read the checkpoint, as most warm-ups do
        example = example.replace(
            "return torch.optim.SGD", "self.trainer.estimated_stepping_batches\n        return torch.optim.SGD"
        )
    program = tmp_path / "fit.py"
    program.write_text(example.replace("batch_size=128)", f"batch_size=6, **{CHEAP})") + LIGHTNING)
    run(str(program), str(tmp_path))

    def seen(name: str) -> list[list[Any]]:
        """What both ranks were given, step for step: (epoch, batch, ids of rank 0, ids of rank 1)."""
        ranks = [json.loads((tmp_path / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]
        return [[*first, second[2]] for first, second in zip(*ranks, strict=True)]

    whole = seen("whole")
    plain = forty.loader(batch_size=40, **CHEAP)
    for epoch in range(3):
        steps = whole[4 * epoch : 4 * epoch + 4]
        assert [step[:2] for step in steps] == [[epoch, number] for number in range(4)]
        assert [each for step in steps for rank in step[2:] for each in rank] == ids(plain)
    starts = {"step=2": 2, "step=4": 4, "step=7": 7, "end-epoch=0": 4, "end-epoch=1": 8}
    assert {name: seen(name) for name in starts} == {name: whole[start:] for name, start in starts.items()}
    assert seen("cut")[2:4] == whole[4:6]  # two steps of epoch 1
    assert seen("uncut") == whole[4:]  # after an epoch that was cut short comes the next one

"""What a user does, in processes under which chosen system calls fail (`failing.c`).

A process that has imported and compiled everything answers requests, a line of JSON each, and begins a process for each
of them, in which a work is done under one fault after another: so hundreds of faults take seconds.
"""

import contextlib
import gc
import hashlib
import io
import json
import os
import signal
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import fsspec

import imagefeed.jobs.evaluation.evaluate as evaluation
from imagefeed.jobs.evaluation.config import EvaluateConfig
from imagefeed.jobs.evaluation.scorer import Scorer, ScorerOptions
from imagefeed.jobs.report import html
from imagefeed.jobs.training.config import TrainConfig
from imagefeed.jobs.training.train import main as train
from imagefeed.model.checkpoint import load_checkpoint
from imagefeed.pipeline.checks.verify import verify
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.convert.repack import repack
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.files.cache import CacheOptions
from imagefeed.pipeline.loader.dataset import open_dataset
from imagefeed.pipeline.runtime.executors import processes
from imagefeed.pipeline.runtime.os_errors import one_line
from tests.conftest import encoded, picture
from tests.convert.test_convert import contents

PATIENCE = 60  # seconds for one of them
CHEAP: dict[str, Any] = {"recipe": "eval", "crop_size": 32, "resize": 32, "dtype": "uint8", "num_threads": 1}


def digest(files: dict[str, bytes]) -> str:
    """Of files by name."""
    seen = hashlib.sha256()
    for name, content in sorted(files.items()):
        seen.update(f"{name} {len(content)} ".encode())
        seen.update(content)
    return seen.hexdigest()


def made(folder: Path) -> str:
    """The digest of what a work has written; that is no part of it, so nothing fails any more."""
    os.environ["FAULT"] = ""
    return digest(contents(folder))


def pixels(dataset: Any) -> str:
    """Of all samples of a dataset as a loader gives them."""
    seen = hashlib.sha256()
    for batch in dataset.loader(batch_size=4, **CHEAP):
        seen.update(batch.images.numpy().tobytes() + batch.sample_ids.numpy().tobytes())
    return seen.hexdigest()


def as_it_is(image: Any) -> Any:
    """A transform."""
    return image


def convert_folder(given: Path, out: Path, on_error: Any = "raise") -> str:
    """Class folders, in shards of four."""
    convert(given / "images", out / "out", ConvertOptions(shard_size=4, on_error=on_error))
    return made(out / "out")


def convert_tars(given: Path, out: Path) -> str:
    """Somebody's tars."""
    convert(given / "tars", out / "out", ConvertOptions(shard_size=4))
    return made(out / "out")


def verify_split(given: Path, out: Path) -> str:
    """Every byte of a split."""
    faults = verify(Split.open(given / "shards" / "train"))
    if faults:
        raise ValueError(faults[0])
    return "sound"


def repack_split(given: Path, out: Path) -> str:
    """To betons."""
    repack(Split.open(given / "shards" / "train"), out / "out", "beton")
    return made(out / "out")


def load_split(given: Path, out: Path) -> str:
    """An epoch."""
    return pixels(open_dataset(given / "shards" / "train"))


def load_tars(given: Path, out: Path) -> str:
    """An epoch of somebody's tars, with the index that it needs."""
    os.environ["IMAGEFEED_HOME"] = str(out / "home")
    return pixels(open_dataset(given / "tars" / "*.tar"))


def load_remote(given: Path, out: Path) -> str:
    """An epoch of a split elsewhere, by way of the cache."""
    return pixels(open_dataset("memory://train", cache=CacheOptions(folder=out / "cache", patience=5)))


def train_net(given: Path, out: Path) -> str:
    """An epoch of a small net; the run that an earlier attempt has begun is resumed."""
    resume = (out / "run" / "config.json").exists()
    options: Any = {"width": 0.05, "initialisation": "he", "batch_size": 4, "threads": 1, "epochs": 1, "seed": 1}
    train(TrainConfig(data=given / "shards", out=out / "run", resume=resume, device="cpu", **options))
    os.environ["FAULT"] = ""
    weights = load_checkpoint(out / "run" / "checkpoint-last.pt")["model"]
    return digest({name: values.numpy().tobytes() for name, values in weights.items()})


def evaluate_net(given: Path, out: Path) -> str:
    """The net of `train_net`, judged by a scorer in this process instead of one on a Ray.

    Charts are left out: what draws them takes seconds to start, and no file.
    """
    vars(html).update(static_svg=lambda chart: "", library=lambda: "")
    vars(evaluation).update(connected=lambda address: nullcontext({"CPU": 1}), scored=scored_here)
    evaluation.evaluate(
        EvaluateConfig(
            checkpoint=(given / "run" / "checkpoint-last.pt",),
            data=given / "shards",
            out=out / "out",
            protocols=("centre",),
            batch_size=4,
        )
    )
    return made(out / "out")


def scored_here(options: ScorerOptions, number: int, checkpoints: list[Any]) -> Iterator[Any]:
    """As `evaluation.scored`."""
    configs, states = ([checkpoint[key] for checkpoint in checkpoints] for key in ("model_config", "model"))
    return map(Scorer(options, configs, states).score, range(options.num_slices))


def verify_by_two(given: Path, out: Path) -> str:
    """As `verify_split`, by two processes."""
    return str(verify(Split.open(given / "shards" / "train"), run=processes(2)))


def transform_split(given: Path, out: Path) -> str:
    """An epoch whose images a function in Python makes, in processes."""
    for _ in open_dataset(given / "shards" / "train").loader(batch_size=4, transform=as_it_is, num_threads=2):
        pass
    return "made"


WORKS: dict[str, Callable[[Path, Path], str]] = {
    "convert": convert_folder,
    "convert tars": convert_tars,
    "quarantine": lambda given, out: convert_folder(given, out, "quarantine"),
    "verify": verify_split,
    "repack": repack_split,
    "load": load_split,
    "load tars": load_tars,
    "load remote": load_remote,
    "train": train_net,
    "evaluate": evaluate_net,
    "processes": verify_by_two,
    "transform": transform_split,
}


def make_inputs(given: Path) -> None:
    """`images` (class folders), `tars` (those of others) and `shards` (ours; memory://train is its train), of a
    dozen images."""
    number = 0
    for split, count in {"train": 4, "val": 1}.items():
        for name in ("ant", "bee", "cow"):
            folder = given / "images" / split / name
            folder.mkdir(parents=True)
            for image in range(count):
                number += 1
                (folder / f"{image:03d}.jpg").write_bytes(encoded(picture(number, 40, 48), quality=90))
    convert(given / "images", given / "shards", ConvertOptions(shard_size=4))
    fsspec.filesystem("memory").put(str(given / "shards" / "train"), "/train", recursive=True)
    (given / "tars").mkdir()
    for shard in range(2):
        with tarfile.open(given / "tars" / f"part-{shard}.tar", "w") as tar:
            for image in range(4):
                for name, data in {"jpg": encoded(picture(image, 40, 48)), "cls": b"%d" % (image % 2)}.items():
                    member = tarfile.TarInfo(f"{shard}{image}.{name}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def done(work: str, given: Path, out: Path, fault: str) -> dict[str, Any]:
    """What becomes of a work with a fault: `result`, or the `kind` and `text` of the error that ends it; and
    `injected`, the calls that were made to fail."""
    log = out / "failed"
    os.environ.update(FAULT=fault, FAULT_LOG=str(log))
    answer: dict[str, Any]
    try:
        answer = {"result": WORKS[work](given, out)}
    except Exception as error:
        known = isinstance(error, ValueError | OSError | RuntimeError)  # which a command ends with as one line
        answer = {"kind": type(error).__name__ if known else "unknown", "text": one_line(error)}
    os.environ["FAULT"] = ""
    answer["injected"] = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return answer


def in_child(request: dict[str, Any]) -> dict[str, Any]:
    """The `answers` of a process of its own to `faults`, one after another, and `said`, what it wrote on the terminal.

    It may take `PATIENCE` seconds for each.
    """
    given, out = Path(request["given"]), Path(request["out"])
    read, write = os.pipe()
    terminal = os.memfd_create("terminal")
    child = os.fork()
    if child == 0:
        os.close(read)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(terminal, stream.fileno())
        signal.alarm(PATIENCE * len(request["faults"]))
        with os.fdopen(write, "w") as file:
            json.dump([done(request["work"], given, out, fault) for fault in request["faults"]], file)
        sys.stdout.flush()
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        text = file.read()
    _, status = os.waitpid(child, 0)
    with os.fdopen(terminal, "r") as file:
        file.seek(0)
        said = file.read()
    return {"answers": json.loads(text) if text else [{"kind": "death", "text": f"ended with {status}"}], "said": said}


def lines() -> Iterator[dict[str, Any]]:
    """The requests."""
    for line in sys.stdin:
        yield json.loads(line)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    make_inputs(folder)
    with contextlib.redirect_stdout(sys.stderr):
        for name in ("repack", "load", "load tars"):  # with which all is compiled and loaded
            (folder / "first" / name).mkdir(parents=True)
            WORKS[name](folder, folder / "first" / name)
        train_net(folder, folder)
    gc.freeze()  # or each process would copy what its collector only looks at
    for request in lines():
        print(json.dumps(in_child(request)), flush=True)

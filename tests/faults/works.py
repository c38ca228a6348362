"""What a user does, each in a process of its own under which chosen system calls fail (`failing.c`).

A process that has imported and compiled everything answers requests, a line of JSON each, and begins a process for each
of them: so hundreds of faults take seconds.
"""

import contextlib
import hashlib
import io
import json
import os
import signal
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from imagefeed.jobs.training.config import TrainConfig
from imagefeed.jobs.training.train import main as train
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
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()


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
    return digest(contents(out / "out"))


def convert_tars(given: Path, out: Path) -> str:
    """Somebody's tars."""
    convert(given / "tars", out / "out", ConvertOptions(shard_size=4))
    return digest(contents(out / "out"))


def verify_split(given: Path, out: Path) -> str:
    """Every byte of a split."""
    faults = verify(Split.open(given / "shards" / "train"))
    if faults:
        raise ValueError(faults[0])
    return "sound"


def repack_split(given: Path, out: Path) -> str:
    """To betons."""
    repack(Split.open(given / "shards" / "train"), out / "out", "beton")
    return digest(contents(out / "out"))


def load_split(given: Path, out: Path) -> str:
    """An epoch."""
    return pixels(open_dataset(given / "shards" / "train"))


def load_tars(given: Path, out: Path) -> str:
    """An epoch of somebody's tars, with the index that it needs."""
    os.environ["IMAGEFEED_HOME"] = str(out / "home")
    return pixels(open_dataset(given / "tars" / "*.tar"))


def load_remote(given: Path, out: Path) -> str:
    """An epoch of a split elsewhere, by way of the cache."""
    import fsspec

    fsspec.filesystem("memory").put(str(given / "shards" / "train"), "/train", recursive=True)
    return pixels(open_dataset("memory://train", cache=CacheOptions(folder=out / "cache", patience=5)))


def train_net(given: Path, out: Path) -> str:
    """Two epochs of a small net, of which the second may be all that is left to do."""
    resume = (out / "run" / "config.json").exists()
    options: Any = {"width": 0.05, "initialisation": "he", "batch_size": 4, "threads": 1, "epochs": 1, "seed": 1}
    train(TrainConfig(data=given / "shards", out=out / "run", resume=resume, device="cpu", **options))
    return "trained"


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
    "processes": verify_by_two,
    "transform": transform_split,
}


def make_inputs(given: Path) -> None:
    """`images` (class folders), `tars` (those of others) and `shards` (ours), of a dozen images."""
    number = 0
    for split, count in {"train": 4, "val": 1}.items():
        for name in ("ant", "bee", "cow"):
            folder = given / "images" / split / name
            folder.mkdir(parents=True)
            for image in range(count):
                number += 1
                (folder / f"{image:03d}.jpg").write_bytes(encoded(picture(number, 40, 48), quality=90))
    convert(given / "images", given / "shards", ConvertOptions(shard_size=4))
    (given / "tars").mkdir()
    for shard in range(2):
        with tarfile.open(given / "tars" / f"part-{shard}.tar", "w") as tar:
            for image in range(4):
                for name, data in {"jpg": encoded(picture(image, 40, 48)), "cls": b"%d" % (image % 2)}.items():
                    member = tarfile.TarInfo(f"{shard}{image}.{name}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def done(request: dict[str, Any]) -> dict[str, Any]:
    """What becomes of a work with a fault: `result`, or the `kind` and `text` of the error that ends it."""
    os.environ.update(FAULT=request["fault"], FAULT_LOG=request["log"])
    try:
        with contextlib.redirect_stdout(sys.stderr):
            answer = {"result": WORKS[request["work"]](Path(request["given"]), Path(request["out"]))}
    except BaseException as error:
        answer = {"kind": type(error).__name__, "text": one_line(error)}
    os.environ["FAULT"] = ""
    return answer


def in_child(request: dict[str, Any]) -> dict[str, Any]:
    """`done` in a process of its own, which may take `PATIENCE` seconds."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        signal.alarm(PATIENCE)
        with os.fdopen(write, "w") as file:
            json.dump(done(request), file)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        text = file.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if text else {"kind": "death", "text": f"ended with status {status}"}


def lines() -> Iterator[dict[str, Any]]:
    """The requests."""
    for line in sys.stdin:
        yield json.loads(line)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    make_inputs(folder)
    for name in ("convert", "repack", "load", "load tars"):  # with which all is compiled and loaded
        (folder / "first" / name).mkdir(parents=True)
        WORKS[name](folder, folder / "first" / name)
    for request in lines():
        print(json.dumps(in_child(request)), flush=True)

"""An evaluation by ten crops: ours, which decodes each image once, and a straightforward loop of torch and Pillow.

    python -m benchmarks.bench_evaluate --source TINY

TINY is an ILSVRC2012 layout, see docs/ilsvrc-tiny.md; its validation split is judged by an untrained net of a quarter
of the paper's width, so that a CPU gets through it. All contenders read the same stored JPEGs and must agree. They take
turns within a run:

    ours       one actor's work in this process: the loader's threads decode, the net has as many
    torch      a Dataset that opens a file with Pillow, subtracts the mean image and stacks ten crops; a DataLoader with
               `threads` workers; the net, with as many threads, on all crops of a batch at once
    the job    jobs/evaluate.py as a command, an actor a thread, from the start of Python and Ray to the written report

Figures are images a second, the processors' time for an image, of all processes (which other work on the machine
spoils less), and which share of the seconds was spent within the net itself. With OMP_WAIT_POLICY=PASSIVE threads that
wait burn no time.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
import tyro
from PIL import Image
from torch import Tensor

from benchmarks.record import record
from imagefeed.jobs.evaluation.predictions import concatenated, num_slices
from imagefeed.jobs.evaluation.scorer import Scorer, ScorerOptions
from imagefeed.model.alexnet import AlexNet
from imagefeed.model.checkpoint import FORMAT, Checkpoint, save_checkpoint
from imagefeed.pipeline.checks.scan import payloads_of_rows
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset

ROOT = Path(__file__).resolve().parents[1]
PLACES = ((0, 0), (0, 32), (32, 0), (32, 32), (16, 16))  # of 224 in 256


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure."""

    source: Path
    """The images."""
    images: int = 3000
    """Of each split, at most."""
    repeats: int = 2
    """Measurements of each contender, in turn."""
    threads: int = 2
    batch_size: int = 32
    width: float = 0.25
    """Of the net; 1 is the paper's."""


@dataclass(frozen=True)
class Turn:
    """One measurement of one contender."""

    images_per_second: float
    cpu_ms_per_image: float | None
    share_of_net: float | None  # of the seconds; None, as the time, for another process, where nobody looks


@dataclass
class Stopwatch:
    """Seconds within a net's forward passes."""

    seconds: float = 0.0

    def watch(self, net: AlexNet) -> None:
        """From now on counts what `net` takes."""

        def start(*_: object) -> None:
            self.seconds -= time.perf_counter()

        def stop(*_: object) -> None:
            self.seconds += time.perf_counter()

        net.register_forward_pre_hook(start)
        net.register_forward_hook(stop)


class TenCrops(torch.utils.data.Dataset[Tensor]):
    """Files as float32 [10, 3, 224, 224] each."""

    def __init__(self, files: list[Path], mean: np.ndarray) -> None:
        self.files, self.mean = files, mean

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Tensor:
        with Image.open(self.files[i]) as image:
            pixels = np.asarray(image.convert("RGB"), np.float32) - self.mean
        crops = [pixels[y : y + 224, x : x + 224] for y, x in PLACES]
        crops += [crop[:, ::-1] for crop in crops]
        return torch.from_numpy(np.stack(crops).transpose(0, 3, 1, 2).copy())


@torch.inference_mode()
def by_torch(net: AlexNet, files: list[Path], mean: np.ndarray, config: BenchConfig) -> np.ndarray:
    """The likeliest class of each file, int64 [n]."""
    loader = torch.utils.data.DataLoader(TenCrops(files, mean), config.batch_size, num_workers=config.threads)
    found = []
    for crops in loader:
        probabilities = net(crops.flatten(0, 1)).softmax(1).unflatten(0, crops.shape[:2]).mean(1)
        found.append(probabilities.argmax(1))
    return torch.cat(found).numpy()


def by_us(scorer: Scorer) -> np.ndarray:
    """The same, of the samples in the order of their ids."""
    part = concatenated([scorer.score(number) for number in range(scorer.options.num_slices)])
    top: np.ndarray = part.scores["ten-crop"].top_classes[np.argsort(part.sample_ids), 0]
    return top


def stored(dataset: Dataset, folder: Path) -> list[Path]:
    """The stored JPEGs of a split as files, in the order of their ids."""
    folder.mkdir()
    files = []
    for payload, row in payloads_of_rows(dataset, np.arange(len(dataset))):
        files.append(folder / f"{row['id']:06d}.jpg")
        files[-1].write_bytes(payload)
    return files


def untrained(config: BenchConfig, train: Dataset) -> Checkpoint:
    """A checkpoint as if a run had just begun."""
    torch.manual_seed(0)
    model_config = {"num_classes": len(train.classes), "width": config.width, "initialisation": "he"}
    return {
        "format": FORMAT,
        "model_config": model_config,
        "model": AlexNet(**model_config).state_dict(),
        "optimizer": {},
        "scaler": {},
        "schedule": {},
        "loader": {},
        "epoch": 0,
        "step": 0,
        "world_size": 1,
        "train_config": {},
        "classes": [each.wnid for each in train.classes],
        "data_digest": train.manifest.digest,
        "versions": {},
    }


def main(config: BenchConfig) -> None:
    """Prints the table and records its rows."""
    torch.set_num_threads(config.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        convert(config.source, folder / "data", ConvertOptions(limit=config.images))
        train, val = (open_dataset(folder / "data" / split) for split in ("train", "val"))
        checkpoint = untrained(config, train)
        save_checkpoint(folder / "net.pt", checkpoint)
        files = stored(val, folder / "files")
        options = ScorerOptions(
            split=val.path,
            recipe="alexnet",
            crop_size=224,
            protocols=("ten-crop",),
            batch_size=config.batch_size,
            num_slices=num_slices(len(val), config.batch_size),
            threads=config.threads,
            device="cpu",
        )
        scorer = Scorer(options, [checkpoint["model_config"]], [checkpoint["model"]])
        (net,) = scorer.nets  # the same object for both: the same memory, the same speed
        command = [sys.executable, str(ROOT / "jobs" / "evaluate.py"), "--checkpoint", str(folder / "net.pt")]
        command += ["--data", str(folder / "data"), "--out", str(folder / "out"), "--protocols", "ten-crop"]
        contenders: dict[str, Callable[[], object]] = {
            "ours": lambda: by_us(scorer),
            "torch": lambda: by_torch(net, files, train.mean_image, config),
            "the job": lambda: subprocess.run(command, check=True, capture_output=True),
        }
        warm_up(scorer, net, files, train.mean_image, config)
        stopwatch = Stopwatch()
        stopwatch.watch(net)
        turns: dict[str, list[Turn]] = {name: [] for name in contenders}
        answers: list[np.ndarray] = []
        for _ in range(config.repeats):
            for name, run in contenders.items():
                stopwatch.seconds, burnt, started = 0.0, processor_seconds(), time.perf_counter()
                answer = run()
                seconds = time.perf_counter() - started
                burnt = processor_seconds() - burnt
                # The job's actors are children of Ray, whose time is not seen here, nor is what happens in their nets.
                inside = (1000 * burnt / len(val), stopwatch.seconds / seconds) if name != "the job" else (None, None)
                turns[name].append(Turn(len(val) / seconds, *inside))
                answers += [answer] if isinstance(answer, np.ndarray) else []
                more = {"width": config.width, "threads": config.threads, "batch_size": config.batch_size}
                # Each at once: a run that is cut off has measured something.
                record("evaluate", name, {**asdict(turns[name][-1]), **more, "images": len(val)})
        agreement = min(float((answer == answers[0]).mean()) for answer in answers)
        if agreement < 0.999:  # ties may fall either way in the last bit
            raise RuntimeError(f"the contenders agree on {agreement:.1%} of the images only: they do not do the same")
        report(turns, len(val), config)


def warm_up(scorer: Scorer, net: AlexNet, files: list[Path], mean: np.ndarray, config: BenchConfig) -> None:
    """A slice by each: what is done once is done."""
    scorer.score(0)
    by_torch(net, files[: 4 * config.batch_size], mean, config)


def processor_seconds() -> float:
    """Of this process and the children that have ended."""
    return sum(os.times()[:4])


def report(turns: dict[str, list[Turn]], images: int, config: BenchConfig) -> None:
    """One row a contender, on the terminal."""
    print(f"{images} images, width {config.width}, {config.threads} threads; images a second, CPU ms an image\n")
    print(f"{'':10}" + 2 * f" {'min':>7} {'median':>7} {'max':>7}" + f" {'the net itself':>15}")
    for name, each in turns.items():
        figures = spread([turn.images_per_second for turn in each]) + spread([turn.cpu_ms_per_image for turn in each])
        shares = [turn.share_of_net for turn in each if turn.share_of_net is not None]
        print(f"{name:10}{figures}" + (f" {median(shares):15.0%}" if shares else f" {'-':>15}"))


def spread(values: list[float | None]) -> str:
    """Least, median and most; dashes for what was not seen."""
    seen = [value for value in values if value is not None]
    return "".join(f" {number(seen):7.1f}" for number in (min, median, max)) if seen else 3 * f" {'-':>7}"


if __name__ == "__main__":
    main(tyro.cli(BenchConfig, description=__doc__))

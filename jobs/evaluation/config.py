"""What is asked of an evaluation."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from imagefeed.jobs.cluster.connect import RayAddress
from imagefeed.jobs.evaluation.crops import Dense
from imagefeed.jobs.report.schema import Protocol
from imagefeed.pipeline.files.paths import absolute, in_home

NOT_DECISIVE = {
    "checkpoint",
    "data",
    "out",
    "compare",
    "num_actors",
    "ray_address",
}  # where things lie, and who works


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Judge checkpoints on a split, on a Ray cluster."""

    checkpoint: tuple[Path, ...] = ()
    """Checkpoints of jobs/train.py; by default that of the sample run, $IMAGEFEED_HOME/run, trained if missing. Of
    several, each is judged, and so is their ensemble."""
    data: Path | None = None
    """Folder with the split to judge on and train (for its mean image); by default the sample data, made if missing."""
    split: str = "val"
    """The split to judge on."""
    out: Path | None = None
    """Folder for the results; by default $IMAGEFEED_HOME/evaluation."""
    compare: tuple[Path, Path] | None = None
    """Judge nothing, but set two finished evaluations of one split beside each other, by their folders or their runs':
    OUT/compare.html and OUT/compare.json."""
    protocols: tuple[Protocol, ...] = ("centre", "ten-crop")
    """Which crops to judge by: see docs/evaluation.md."""
    dense_sides: tuple[int, ...] = Dense.sides
    """For dense crops: the sides to which the whole image is scaled, pixels."""
    dense_grid: int = Dense.grid
    """For dense crops: at each scale, this many times as many places; each crop is also mirrored."""
    batch_size: int = 32
    """Images that an actor scores at a time; the ten crops of one take 6 MB."""
    num_actors: int | None = None
    """Actors; by default as many as the cluster's CPUs or, on CUDA, its GPUs allow."""
    ray_address: RayAddress = None
    threads: int = 1
    """CPU threads of an actor. Like another batch size, another number may change the last bits."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the net runs; auto: on GPUs where the cluster has any."""
    features: bool = False
    """Also write the last hidden layer's outputs for each image, those of the first net for the centre crop, into
    predictions.parquet: 16 kB an image at width 1."""
    neighbours: bool = False
    """Also find the training images nearest to five others, by the last hidden layer of the first net: the centre crop
    of every training image goes through it."""
    other_data: bool = False
    """Accept a checkpoint that was trained on other shards than DATA/train, with the same classes."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "num_actors", "threads", "dense_grid"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        if not self.dense_sides:
            raise ValueError("dense_sides must be one or more")
        if "dense" not in self.protocols and Dense(self.dense_sides, self.dense_grid) != Dense():
            raise ValueError("dense_sides and dense_grid are for dense crops: add dense to the protocols")
        if not self.protocols or len(set(self.protocols)) < len(self.protocols):
            raise ValueError(f"protocols must be one or more, each once, not {self.protocols}")
        if self.compare and (self.checkpoint or self.data or self.out is None):
            raise ValueError("compare takes two evaluations and --out, no checkpoint and no data")
        if bool(self.checkpoint) != (self.data is not None):
            raise ValueError("checkpoint and data go together: give both, or neither to judge the sample run")


def dense_of(config: EvaluateConfig) -> Dense | None:
    """Which dense crops are asked for, if any."""
    return Dense(config.dense_sides, config.dense_grid) if "dense" in config.protocols else None


def out_folder(config: EvaluateConfig) -> Path:
    """Where the results go."""
    return absolute(config.out) if config.out else in_home("evaluation")


def command(config: EvaluateConfig, device: str, num_checkpoints: int) -> str:
    """The command that gives the same numbers again: where things lie is left to who types it, the digests say what."""
    checkpoints = ["CHECKPOINT"] if num_checkpoints == 1 else [f"CHECKPOINT{i + 1}" for i in range(num_checkpoints)]
    words = ["python", "jobs/evaluate.py", "--checkpoint", *checkpoints, "--data", "DATA", "--out", "OUT"]
    for field in fields(config):
        value = device if field.name == "device" else getattr(config, field.name)
        if field.name in NOT_DECISIVE or value == field.default:
            continue
        option = field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", *map(str, value if isinstance(value, tuple) else (value,))]
    return " ".join(words)

"""What is asked of a training run."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from inspect import getdoc
from pathlib import Path
from typing import Any, Literal

from imagefeed.jobs.runs.folder import CONFIG, started_with
from imagefeed.jobs.training.form import ask
from imagefeed.model.parallel import Compression
from imagefeed.model.presets import PRESETS, Preset
from imagefeed.pipeline.files.paths import absolute
from imagefeed.pipeline.interop.make_loader import EngineName


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Preset):
    """Train AlexNet on shards, DATA/train and DATA/val, on one process or on many:

        python jobs/train.py --data DATA --out OUT
        torchrun --standalone --nproc_per_node=8 jobs/train.py --data DATA --out OUT
        torchrun --standalone --nproc_per_node=8 jobs/train.py --out OUT --resume

    Without --data: on the sample dataset, with settings that learn it in a minute on a CPU. The defaults shown are
    those that will run: without --data those settings, with --data the preset's (`--data DATA --help`).
    """

    preset: Literal["paper", "original-2012", "caffe", "torchvision", "modern"] = "paper"
    """Which AlexNet: sets the defaults of all options that say what is learnt; docs/presets.md compares them."""
    data: Path | None = None
    """Folder with the splits, DATA/train and DATA/val; by default the sample dataset, made if it is not there."""
    out: Path | None = None
    """Folder of the run: checkpoints, figures; for the sample dataset by default $IMAGEFEED_HOME/run."""
    resume: bool = False
    """Continue the run in OUT from its newest checkpoint; from the beginning where it has none yet. Without --data
    it has the options that it was started with, but for --max-steps and --profile."""

    max_steps: int | None = None
    """Stop after this many steps in all, with a checkpoint, even in the middle of an epoch."""
    seed: int = 0
    """Of the weights, the order, the augmentation and dropout."""

    engine: EngineName = "imagefeed"
    """Whose loader feeds the training: ours, FFCV's (betons; the same batches) or WebDataset's (tars; its own order).
    The augmentation is ours with each, so that they can be compared; validation is by our own."""
    finish: Literal["cpu", "device"] = "cpu"
    """Where mean and colour are applied; device: images cross the bus in 8 bits, and the values are the same."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What the ranks run on; auto: CUDA where there is any."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of activations and images; 16 bits are mixed precision, with float32 weights, and for CUDA only."""
    layout: Literal["NCHW", "NHWC"] = "NHWC"
    """Memory layout of images and activations; the results agree up to rounding."""
    compile: Literal["no", "default", "reduce-overhead", "max-autotune"] = "no"
    """Compile the network with torch.compile, in one of its modes; reduce-overhead makes CUDA graphs."""
    accumulate: int = 1
    """Parts in which each rank's batch goes through the network, one after the other: less memory, the same update."""
    compression: Compression = "none"
    """Of the fully connected layers' gradients, on their way between ranks."""
    classifier_parallel: bool = False
    """Each rank holds a part of the fully connected layers, for the images of all: activations travel between ranks in
    place of those layers' gradients, which is less below 4,097 images a step (model/split_classifier.py)."""
    threads: int | None = None
    """CPU threads of each rank, for the network and for decoding; by default the machine's CPUs over its ranks."""

    checkpoint_every: int | None = None
    """Steps between checkpoints within an epoch; there is one at the end of each epoch in any case."""
    keep_last: int = 0
    """Epochs whose checkpoints stay, beside the newest one and the best."""
    keep_every: int | None = None
    """Every so many epochs a checkpoint stays for good."""
    log_every: int = 50
    """Steps between records of loss and speed; there is one at the end of each epoch in any case."""
    profile: int | None = None
    """Write a trace of so many steps into OUT."""

    def __post_init__(self) -> None:
        for name in (
            *("epochs", "max_steps", "batch_size", "threads", "checkpoint_every", "keep_every", "log_every"),
            *("accumulate", "profile"),
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
        if self.keep_last < 0:
            raise ValueError(f"--keep-last must not be negative, not {self.keep_last}")
        if self.data is not None and self.out is None:
            raise ValueError("--data needs --out, the folder of the run")
        if self.finish == "device" and self.layout != "NHWC":
            raise ValueError("--finish device needs --layout NHWC")
        if self.classifier_parallel and (self.compression != "none" or self.dtype == "float16"):
            raise ValueError(
                "--classifier-parallel leaves no gradients for --compression, and goes with float32 and bfloat16: "
                "float16's steps would be left out by one rank alone"
            )
        if self.classifier_parallel and self.sgd == "lars":
            raise ValueError("--sgd lars needs the norms of whole layers, and --classifier-parallel cuts them up")
        if self.schedule != "steps" and self.milestones:
            raise ValueError("--milestones needs --schedule steps")
        super().__post_init__()


def defaults(preset: str, **changes: Any) -> TrainConfig:
    """The options of a run with `preset`, but for `changes`."""
    options = {field.name: getattr(PRESETS[preset], field.name) for field in fields(Preset)}
    return TrainConfig(**{**options, "preset": preset, **changes})


# The sample dataset is small and a CPU slow: a narrow network with another start learns it in a minute. Run again,
# it continues, or has nothing left to do.
ON_SAMPLE: dict[str, Any] = {
    "resume": True,
    "epochs": 20,
    "batch_size": 32,
    "schedule": "steps",
    "milestones": (16,),
    "width": 0.25,
    "initialisation": "he",
}
SAMPLE = defaults("paper", **ON_SAMPLE)


ONCE = ("out", "resume", "max_steps", "profile")  # options of a run that its continuation does not take over


def to_resume(words: Sequence[str]) -> TrainConfig | None:
    """The options of the run that `--out OUT --resume` means where no `--data` is given: those it was started with.

    None where something else is asked for, or no run is in OUT. Raises ValueError where its options cannot be read.
    """
    if "--data" in words or "--resume" not in words or "--out" not in words[:-1]:
        return None
    out = absolute(Path(words[words.index("--out") + 1]))
    options = started_with(out)
    if options is None:
        return None
    known = {field.name for field in fields(TrainConfig)} - {"preset", *ONCE}
    changes: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }
    changes = {name: value for name, value in changes.items() if name in known}
    if changes.get("data") is not None:
        changes["data"] = Path(changes["data"])
    try:
        return defaults(options.get("preset", "paper"), out=out, resume=True, **changes)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{out / CONFIG}: its options are not of this version ({error}): give all of them") from error


def parse(arguments: Sequence[str], *, is_main: bool = True) -> TrainConfig:
    """The options; those not given are the preset's, and without --data in part those of `ON_SAMPLE`, or those of the
    run that is to be resumed."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    preset = words[words.index("--preset") + 1] if "--preset" in words[:-1] else "paper"
    changes = {} if "--data" in words else ON_SAMPLE  # the parser refuses a preset that is not known
    default = to_resume(words) or defaults(preset if preset in PRESETS else "paper", **changes)
    return ask(default, args=arguments, description=getdoc(TrainConfig), console_outputs=is_main)

"""The checkpoints that a job is given: where they are, and whether they fit their data and each other."""

from pathlib import Path

from imagefeed.jobs.runs.folder import BEST, CHECKPOINT
from imagefeed.model.checkpoint import Checkpoint, load_checkpoint
from imagefeed.model.presets import PAPER
from imagefeed.pipeline.dataset.manifest import Manifest
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.files.paths import home
from imagefeed.pipeline.kernel.recipes import values_of


def in_run(path: Path) -> Path:
    """Of the folder of a run its best checkpoint, or the newest where none is called the best; a file is itself."""
    if not path.is_dir():
        return path
    return path / BEST if (path / BEST).is_file() else path / CHECKPOINT


def newest_run() -> Path:
    """The folder below $IMAGEFEED_HOME, `run` or `*/run`, whose checkpoint is the newest. `FileNotFoundError`."""
    found = [*home().glob(f"run/{CHECKPOINT}"), *home().glob(f"*/run/{CHECKPOINT}")]
    if not found:
        raise FileNotFoundError(
            f"no run below {home()}: give --checkpoint, or train the sample net (`python jobs/train.py`, a minute)"
        )
    return max(found, key=lambda path: path.stat().st_mtime_ns).parent


def read_checkpoint(path: Path) -> tuple[Checkpoint, str]:
    """A checkpoint and the SHA-256 of its bytes; if a run replaces the file meanwhile, both are read anew."""
    while True:
        before = path.stat().st_ino if path.is_file() else None
        checkpoint, digest = load_checkpoint(path), file_sha256(path)
        if path.stat().st_ino == before:
            return checkpoint, digest


def check_fit(
    path: Path, checkpoint: Checkpoint, data: Path, train: Manifest, dataset: Split, other_data: bool
) -> None:
    """Raises `ValueError` unless the checkpoint and the data to judge it on belong together."""
    if len(dataset) == 0:
        raise ValueError(f"{data / dataset.manifest.split} holds no samples: there is nothing to judge on")
    wnids = [each.wnid for each in dataset.classes]
    if checkpoint["classes"] != wnids:
        raise ValueError(
            f"{path} knows {len(checkpoint['classes'])} classes, {data} has {len(wnids)}, and they are not "
            "the same: give the data that it was trained on, or another checkpoint"
        )
    if checkpoint["data_digest"] != train.digest and not other_data:
        raise ValueError(
            f"{path} was trained on shards with digest {checkpoint['data_digest'][:12]}, {data / 'train'} has"
            f" {train.digest[:12]}: give the data that it was trained on, or --other-data if this is meant"
        )


def check_together(paths: list[Path], checkpoints: list[Checkpoint], digests: list[str]) -> None:
    """Raises `ValueError` unless the checkpoints are different ones whose nets can be fed the same crops."""
    for i, (path, checkpoint, digest) in enumerate(zip(paths, checkpoints, digests, strict=True)):
        if digest in digests[:i]:
            raise ValueError(f"{path} and {paths[digests.index(digest)]} are the same checkpoint: give it once")
        for what, of in {"crop size": crop_size_of, "mean and scale": lambda each: values_of(recipe_of(each))}.items():
            if of(checkpoint) != of(checkpoints[0]):
                raise ValueError(
                    f"{path} was trained with {what} {of(checkpoint)}, {paths[0]} with {of(checkpoints[0])}: they "
                    "cannot be fed the same images, judge them one by one"
                )


def recipe_of(checkpoint: Checkpoint) -> str:
    """The recipe that a net was trained with; the paper's where the checkpoint names none."""
    return str(checkpoint["train_config"].get("recipe", PAPER.recipe))


def crop_size_of(checkpoint: Checkpoint) -> int:
    """The side of the images that a net takes, pixels; the paper's where the checkpoint names none."""
    return int(checkpoint["model_config"].get("input_size", PAPER.input_size))


def read_checkpoints(
    paths: list[Path], data: Path, train: Manifest, dataset: Split, other_data: bool
) -> tuple[list[Checkpoint], list[str]]:
    """The checkpoints, without what only training needs, and the SHA-256 of their files.

    Raises `FileNotFoundError` or `ValueError` where one is missing, damaged or does not fit.
    """
    checkpoints, digests = [], []
    for path in paths:
        checkpoint, digest = read_checkpoint(path)
        check_fit(path, checkpoint, data, train, dataset, other_data)
        checkpoint["optimizer"] = {}  # twice as large as the net: those of a whole history would fill the memory
        checkpoints.append(checkpoint)
        digests.append(digest)
    check_together(paths, checkpoints, digests)
    return checkpoints, digests

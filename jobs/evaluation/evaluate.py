"""From checkpoints and a split to predictions, report.json and the page."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from imagefeed.jobs.cluster.connect import connected
from imagefeed.jobs.cluster.work import hiring, on_actors
from imagefeed.jobs.evaluation.compare import comparison, read_evaluation
from imagefeed.jobs.evaluation.config import EvaluateConfig, command, dense_of, out_folder
from imagefeed.jobs.evaluation.crops import check_dense, images_of
from imagefeed.jobs.evaluation.curves import read_metrics, training_curves
from imagefeed.jobs.evaluation.neighbours import SearchOptions, neighbours, query_ids
from imagefeed.jobs.evaluation.predictions import Part, joined, num_slices
from imagefeed.jobs.evaluation.scorer import Device, Scorer, ScorerOptions
from imagefeed.jobs.evaluation.summary import report_of
from imagefeed.jobs.report.comparison_page import render_comparison
from imagefeed.jobs.report.evaluation_page import ReportInputs, neighbour_ids, render, shown_ids
from imagefeed.jobs.report.schema import REPORT, Curves, Neighbours, Report, from_text, to_text
from imagefeed.jobs.runs.checkpoints import crop_size_of, read_checkpoints, recipe_of
from imagefeed.jobs.runs.folder import METRICS
from imagefeed.model.checkpoint import Checkpoint
from imagefeed.pipeline.files.atomic import atomic, write_atomically
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.files.paths import absolute
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from imagefeed.pipeline.runtime.progress import track


def evaluate(config: EvaluateConfig) -> Report:
    """Judges the checkpoints, writes the three files, and returns what is in report.json.

    Raises `FileNotFoundError` or `ValueError` where an input is missing or does not fit, `RuntimeError` where
    the cluster cannot do the work, and the loader's own errors on damaged data. Nothing is written unless
    each sample of the split was scored exactly once.
    """
    out = out_folder(config)
    assert config.data is not None and config.checkpoint, "the job has put in what was not given"
    data, paths = absolute(config.data), [absolute(path) for path in config.checkpoint]
    dataset, train = open_dataset(data / config.split), open_dataset(data / "train")
    checkpoints, digests = read_checkpoints(paths, data, train.manifest, dataset, config.other_data)
    if dense := dense_of(config):
        check_dense(dataset, recipe_of(checkpoints[0]), crop_size_of(checkpoints[0]), dense)
    curves = curves_of(paths)

    out.mkdir(parents=True, exist_ok=True)  # while a folder that cannot be made costs nothing yet
    with connected(config.ray_address) as resources:
        device, num_actors = crew(config, resources)
        predictions = predict(config, dataset, checkpoints, device, num_actors)
        similar = (
            find_neighbours(config, dataset, train, checkpoints[0], device, num_actors) if config.neighbours else None
        )

    (out / "report.html").unlink(missing_ok=True)  # the page comes last: where there is one, it fits the rest
    with atomic(out / "predictions.parquet") as temporary:
        pq.write_table(predictions, temporary)
    report = report_of(
        dataset,
        train,
        checkpoints,
        digests,
        predictions,
        protocols=config.protocols,
        training=curves,
        dense=dense,
        neighbours=similar,
        predictions_sha256=file_sha256(out / "predictions.parquet"),
        command=command(config, device, len(paths)),
        device=device,
    )
    written = to_text(report)
    # The page shows what stands there, to the character.
    report = from_text(written, Report, str(out / REPORT), "this is a fault of the program, report it")
    write_atomically(out / REPORT, written.encode())
    kernels = next(tensor for tensor in checkpoints[0]["model"].values() if tensor.ndim == 4).numpy()  # conv1
    mean_image = train.mean_image if train.has_statistics and train.has_mean_image else None
    page = render(
        ReportInputs(
            report=report,
            kernels=kernels,
            mean_image=mean_image,
            images=images_of(dataset, shown_ids(report)),
            train_images=images_of(train, neighbour_ids(report)),
        )
    )
    write_atomically(out / "report.html", page.encode())
    return report


def compare(folders: tuple[Path, Path], out: Path) -> None:
    """Writes compare.json and, last, compare.html, and says how it came out. Raises as `compare` does."""
    found = comparison(*(read_evaluation(absolute(folder)) for folder in folders))
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.html").unlink(missing_ok=True)
    write_atomically(out / "compare.json", to_text(found).encode())
    write_atomically(out / "compare.html", render_comparison(found).encode())
    for name, entry in found.protocols.items():
        errors = ", ".join(f"{label} {each.top1.error:.1%}" for label, each in entry.errors.items())
        print(f"{name}: top-1 error {errors}; p = {entry.test.p:.2g} if both are equally good")
    print(f"comparison: {out / 'compare.html'}")


def predict(
    config: EvaluateConfig, dataset: Dataset, checkpoints: list[Checkpoint], device: Device, num_actors: int
) -> pa.Table:
    """The predictions for all of the split, as `predictions.joined` has them, from the connected cluster."""
    options = ScorerOptions(
        split=dataset.path,
        dense=dense_of(config),
        features=config.features,
        recipe=recipe_of(checkpoints[0]),
        crop_size=crop_size_of(checkpoints[0]),
        protocols=config.protocols,
        batch_size=config.batch_size,
        num_slices=num_slices(len(dataset), config.batch_size),
        threads=config.threads,
        device=device,
    )
    parts: list[Part] = []

    def counts() -> Iterator[int]:
        for part in scored(options, num_actors, checkpoints):
            parts.append(part)
            yield len(part.sample_ids)

    for _ in track(counts(), len(dataset), "evaluated", "images"):
        pass
    return joined(parts, dataset.samples)


def find_neighbours(
    config: EvaluateConfig, dataset: Dataset, train: Dataset, checkpoint: Checkpoint, device: Device, num_actors: int
) -> Neighbours:
    """The nearest training images, from the connected cluster."""
    options = SearchOptions(
        queries=dataset.path,
        query_ids=query_ids(dataset),
        train=train.path,
        recipe=recipe_of(checkpoint),
        crop_size=crop_size_of(checkpoint),
        batch_size=config.batch_size,
        num_slices=num_slices(len(train), config.batch_size),
        threads=config.threads,
        device=device,
    )
    return neighbours(dataset, train, options, checkpoint, num_actors)


def crew(config: EvaluateConfig, resources: Mapping[str, float]) -> tuple[Device, int]:
    """The device and the number of actors for a cluster's resources. `ValueError` if it has no room."""
    num_gpus, num_cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    device = config.device if config.device != "auto" else "cuda" if num_gpus else "cpu"
    room = min(num_cpus // config.threads, num_gpus if device == "cuda" else num_cpus)
    wanted = config.num_actors or max(1, room)
    if wanted > room:
        raise ValueError(
            f"the cluster has {num_cpus} CPUs and {num_gpus} GPUs: room for {room} actors on {device} with "
            f"{config.threads} threads each, not for {wanted}; ask for fewer, or for another device"
        )
    return device, wanted


def scored(options: ScorerOptions, num_actors: int, checkpoints: list[Checkpoint]) -> Iterator[Part]:
    """The scores of all slices of the split, as they come, from actors on the connected cluster."""
    hire = hiring(
        Scorer,
        options,
        [checkpoint["model_config"] for checkpoint in checkpoints],
        shared=[checkpoint["model"] for checkpoint in checkpoints],
        num_cpus=options.threads,
        num_gpus=int(options.device == "cuda"),
    )
    return on_actors(hire, min(num_actors, options.num_slices), "score", range(options.num_slices))


def curves_of(paths: Sequence[Path]) -> dict[str, Curves]:
    """The training curves of the runs that the checkpoints lie in, each once, by the net that is first of its run."""
    runs: dict[Path, str] = {}
    for number, path in enumerate(paths, start=1):
        runs.setdefault(path.parent, f"net {number}")
    curves = {name: training_curves(read_metrics(folder / METRICS)) for folder, name in runs.items()}
    return {name: points for name, points in curves.items() if points.val}

"""Judge checkpoints on a split, on a Ray cluster: the errors of the centre crop and of ten crops.

    ray job submit --address http://127.0.0.1:8265 --working-dir . -- \\
        python jobs/evaluate.py --checkpoint /runs/a/checkpoint-last.pt \\
        --data /data/imagenet-256 --out /runs/a/evaluation

    python jobs/evaluate.py --checkpoint F --data DIR --out DIR    # starts a Ray of its own
    python jobs/evaluate.py --checkpoint F G H --data DIR --out DIR    # each net, their ensemble, and who is better
    python jobs/evaluate.py --compare A B --out DIR                # two finished evaluations beside each other
    python jobs/evaluate.py                                        # the sample data and the net trained on it

Writes OUT/predictions.parquet, OUT/report.json and, last, OUT/report.html. Actors score slices of the split,
which they see under the same path as the driver does. A lost actor is started again and its slice done again;
the results are the same, to the byte, for any number of actors.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

# A submitted job runs in a copy of the checkout: that copy is what must be imported, here and in the workers.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyarrow as pa
import pyarrow.parquet as pq
import tyro

from jobs.checkpoints import crop_size_of, read_checkpoints, recipe_of, sample_checkpoint
from jobs.cluster import RayAddress, absolute, connected, on_actors
from jobs.compare import comparison, read_evaluation, render_comparison
from jobs.curves import read_metrics, training_curves
from jobs.data_facts import data_facts
from jobs.dense import Dense, check_dense
from jobs.judgement import judgement, versions
from jobs.neighbours import neighbours, query_ids
from jobs.pictures import images_of
from jobs.report import ReportInputs, neighbour_ids, render, shown_ids
from jobs.run_folder import METRICS
from jobs.scorer import Device, Scorer, ScorerOptions
from jobs.scores import Part, Protocol, joined, num_slices
from jobs.searcher import SearchOptions
from model.checkpoint import Checkpoint
from pipeline import Dataset, open_dataset
from pipeline.atomic import atomic, write_atomically
from pipeline.cli import run_command
from pipeline.home import home, sample_shards
from pipeline.manifest import file_sha256
from pipeline.progress import track

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


def main(config: EvaluateConfig) -> None:
    """Evaluates, and says how it came out and where the report is."""
    if config.compare:
        compare(config.compare, out_folder(config))
        return
    summary = evaluate(config)
    for name, entry in {**summary["protocols"], "chance": summary["chance"]}.items():
        print(f"{name}: top-1 error {entry['top1']['error']:.1%}, top-5 error {entry['top5']['error']:.1%}")
    print(f"report: {out_folder(config) / 'report.html'}")


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Judges the checkpoints, writes the three files, and returns what is in report.json.

    Raises `FileNotFoundError` or `ValueError` where an input is missing or does not fit, `RuntimeError` where
    the cluster cannot do the work, and the loader's own errors on damaged data. Nothing is written unless
    each sample of the split was scored exactly once.
    """
    out = out_folder(config)
    data = absolute(config.data) if config.data else sample_shards()
    paths = [absolute(path) for path in config.checkpoint] or [sample_checkpoint()]
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
    summary = {
        **judgement(dataset, checkpoints, digests, predictions, config.protocols),
        "data": {
            "digest": dataset.manifest.digest,
            "train_digest": train.manifest.digest,
            **data_facts(dataset, train),
        },
        "training": curves,
        "dense": asdict(dense) if dense else None,
        "neighbours": similar,
        "predictions_sha256": file_sha256(out / "predictions.parquet"),
        "command": command(config, device, len(paths)),
        "device": device,
        "versions": versions(),
    }
    written = json.dumps(summary, indent=1) + "\n"
    write_atomically(out / "report.json", written.encode())
    summary = json.loads(written)  # the page shows what stands there, to the character
    kernels = next(tensor for tensor in checkpoints[0]["model"].values() if tensor.ndim == 4).numpy()  # conv1
    mean_image = train.mean_image if train.has_statistics and train.has_mean_image else None
    page = render(
        ReportInputs(
            summary=summary,
            kernels=kernels,
            mean_image=mean_image,
            images=images_of(dataset, shown_ids(summary)),
            train_images=images_of(train, neighbour_ids(summary)),
        )
    )
    write_atomically(out / "report.html", page.encode())
    return summary


def compare(folders: tuple[Path, Path], out: Path) -> None:
    """Writes compare.json and, last, compare.html, and says how it came out. Raises as `jobs.compare` does."""
    summary = comparison(*(read_evaluation(absolute(folder)) for folder in folders))
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.html").unlink(missing_ok=True)
    write_atomically(out / "compare.json", (json.dumps(summary, indent=1) + "\n").encode())
    write_atomically(out / "compare.html", render_comparison(summary).encode())
    for name, entry in summary["protocols"].items():
        errors = ", ".join(f"{label} {each['top1']['error']:.1%}" for label, each in entry["errors"].items())
        print(f"{name}: top-1 error {errors}; p = {entry['test']['p']:.2g} if both are equally good")
    print(f"comparison: {out / 'compare.html'}")


def predict(
    config: EvaluateConfig, dataset: Dataset, checkpoints: list[Checkpoint], device: Device, num_actors: int
) -> pa.Table:
    """The predictions for all of the split, as `jobs.scores.joined` has them, from the connected cluster."""
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


def dense_of(config: EvaluateConfig) -> Dense | None:
    """Which dense crops are asked for, if any."""
    return Dense(config.dense_sides, config.dense_grid) if "dense" in config.protocols else None


def find_neighbours(
    config: EvaluateConfig, dataset: Dataset, train: Dataset, checkpoint: Checkpoint, device: Device, num_actors: int
) -> dict[str, Any]:
    """What report.json says of the nearest training images, from the connected cluster."""
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
    import ray  # only once `connected` has set what Ray reads at its import

    actor = ray.remote(num_cpus=options.threads, num_gpus=int(options.device == "cuda"))(Scorer)
    states = ray.put(
        [checkpoint["model"] for checkpoint in checkpoints]
    )  # held once a machine, however many actors it has

    def hire() -> Any:
        return actor.remote(options, [checkpoint["model_config"] for checkpoint in checkpoints], states)

    return on_actors(hire, min(num_actors, options.num_slices), "score", range(options.num_slices))


def out_folder(config: EvaluateConfig) -> Path:
    """Where the results go."""
    return absolute(config.out) if config.out else home() / "evaluation"


def curves_of(paths: Sequence[Path]) -> dict[str, Any]:
    """The training curves of the runs that the checkpoints lie in, each once, by the net that is first of its run."""
    runs: dict[Path, str] = {}
    for number, path in enumerate(paths, start=1):
        runs.setdefault(path.parent, f"net {number}")
    curves = {name: training_curves(read_metrics(folder / METRICS)) for folder, name in runs.items()}
    return {name: points for name, points in curves.items() if points["val"]}


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


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(EvaluateConfig)))

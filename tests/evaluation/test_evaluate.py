"""The evaluation: each sample judged exactly once, as a slow and plain loop would, for any number of actors."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from imagefeed.jobs.evaluation.config import EvaluateConfig
from imagefeed.jobs.evaluation.crops import Dense, images_of
from imagefeed.jobs.evaluation.evaluate import crew, evaluate
from imagefeed.jobs.evaluation.predictions import errors, joined, num_slices, rank_classes
from imagefeed.jobs.evaluation.scorer import Scorer, ScorerOptions
from imagefeed.jobs.report.evaluation_page import ReportInputs, neighbour_ids, queries_of, render, shown_ids
from imagefeed.jobs.report.schema import DenseCrops, Input, read_report
from imagefeed.jobs.runs.checkpoints import read_checkpoint
from imagefeed.model.checkpoint import save_checkpoint
from imagefeed.pipeline.dataset.manifest import Manifest
from imagefeed.pipeline.dataset.tables import read_samples
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from imagefeed.pipeline.loader.loader import Loader
from tests.support.plain_evaluation import plain_features, plain_loop, stored_images

ROOT = Path(__file__).resolve().parents[2]
DENSE = Dense(sides=(300, 240), grid=2)  # one enlarges, one reduces
MORE = (
    *("--features", "--neighbours", "--protocols", "centre", "ten-crop", "dense"),
    *("--dense-sides", "300", "240", "--dense-grid", "2"),
)
RESULTS = ("predictions.parquet", "report.json", "report.html")
CPUS, GPUS = {"CPU": 8.0}, {"CPU": 8.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("options", "resources", "expected"),
    [
        ({}, CPUS, ("cpu", 8)),
        ({"threads": 3}, CPUS, ("cpu", 2)),
        ({"num_actors": 5}, CPUS, ("cpu", 5)),
        ({}, GPUS, ("cuda", 2)),
        ({"threads": 8}, GPUS, ("cuda", 1)),  # a GPU each, but CPUs for one
        ({"device": "cpu"}, GPUS, ("cpu", 8)),
        ({"num_actors": 9}, CPUS, None),
        ({"threads": 9}, CPUS, None),
        ({"device": "cuda"}, CPUS, None),
        ({"num_actors": 3}, GPUS, None),
    ],
)
def test_the_crew_fits_the_cluster_or_is_refused(options: Any, resources: Any, expected: Any) -> None:
    config = EvaluateConfig(**options)
    if expected:
        assert crew(config, resources) == expected
    else:
        with pytest.raises(ValueError, match="room for"):
            crew(config, resources)


def test_dense_crops_that_do_not_fit_are_refused_before_ray_starts(
    checkpoint: Path, shards: Path, tmp_path: Path
) -> None:
    out = checkpoint / "out"  # which cannot be made, and that would be said just before Ray starts
    content, _ = read_checkpoint(checkpoint)
    other: Any = {**content, "train_config": {"recipe": "alexnet-2012"}}
    save_checkpoint(tmp_path / "other.pt", other)
    for path, sides, why in (
        (checkpoint, (200,), "dense_sides of at least that"),
        (tmp_path / "other.pt", (256,), "2012"),
    ):
        files: dict[str, Any] = {"checkpoint": (path,), "data": shards / "tar", "out": out}
        with pytest.raises(ValueError, match=why):
            evaluate(EvaluateConfig(**files, protocols=("dense",), dense_sides=sides))


# The job, on a real Ray


def start(checkpoints: list[Path], data: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    """The job as a user starts it; one image a batch, so that there are as many slices as images."""
    script = str(ROOT / "jobs" / "evaluate.py")
    paths = ["--checkpoint", *map(str, checkpoints), "--data", str(data), "--out", str(out)]
    command = [sys.executable, script, *paths, "--batch-size", "1", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/")


def finish(job: subprocess.Popen[str]) -> tuple[int, str]:
    """The status and the output of a job, which must end by itself."""
    try:
        output, _ = job.communicate(timeout=300)
    finally:
        job.terminate()
    return job.returncode, output


@pytest.fixture(scope="module")
def evaluated(two_checkpoints: list[Path], shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of an undisturbed evaluation of two nets by one actor."""
    out = tmp_path_factory.mktemp("evaluated")
    status, output = finish(start(two_checkpoints, shards / "tar", out, "--num-actors", "1", *MORE))
    assert status == 0, output
    return out


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_the_page_shows_what_stands_in_report_json_and_nothing_else(
    evaluated: Path, two_checkpoints: list[Path], shards: Path
) -> None:
    report = read_report(evaluated / "report.json")
    val, train = (open_dataset(shards / "tar" / split) for split in ("val", "train"))
    inputs = ReportInputs(
        report=report,
        kernels=torch.load(two_checkpoints[0], weights_only=True)["model"]["conv1.weight"].numpy(),
        mean_image=train.mean_image,
        images=images_of(val, shown_ids(report)),
        train_images=images_of(train, neighbour_ids(report)),
    )
    assert (evaluated / "report.html").read_text() == render(inputs)


def test_the_job_says_what_a_plain_loop_says(evaluated: Path, two_checkpoints: list[Path], shards: Path) -> None:
    predictions = pq.read_table(evaluated / "predictions.parquet")
    samples = read_samples(shards / "tar" / "val")
    assert predictions.select(["id", "key", "label"]).equals(samples.select(["id", "key", "label"]))
    grey = [pixels[16:240, 16:240].mean() for pixels in stored_images(shards / "tar", "val")]
    np.testing.assert_allclose(predictions["brightness"], grey, rtol=1e-5)
    first, second = (plain_loop(path, shards / "tar", DENSE) for path in two_checkpoints)
    for protocol in first:
        ensemble = (first[protocol] + second[protocol]) / 2
        for net, probabilities in (("", ensemble), ("net1_", first[protocol]), ("net2_", second[protocol])):
            expected = rank_classes(probabilities, samples["label"].to_numpy())
            name = net + protocol.replace("-", "_")
            for field in ("top_probabilities", "true_probability"):
                ours = np.array(predictions[f"{name}_{field}"].to_pylist())
                np.testing.assert_allclose(ours, getattr(expected, field), rtol=1e-4)
            assert predictions[f"{name}_top_classes"].to_pylist() == expected.top_classes.tolist()
            assert predictions[f"{name}_true_rank"].to_pylist() == expected.true_rank.tolist()


def test_without_dense_crops_the_others_come_out_the_same_to_the_bit(
    evaluated: Path, two_checkpoints: list[Path], shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaders = []
    open_loader = Dataset.loader

    def counted(dataset: Dataset, **options: Any) -> Loader:
        loaders.append(open_loader(dataset, **options))
        return loaders[-1]

    monkeypatch.setattr(Dataset, "loader", counted)
    val, nets = open_dataset(shards / "tar" / "val"), [read_checkpoint(path)[0] for path in two_checkpoints]
    options = ScorerOptions(
        split=val.path,
        recipe="alexnet",
        crop_size=224,
        protocols=("centre", "ten-crop"),
        batch_size=1,
        num_slices=num_slices(len(val), 1),
        threads=1,
        device="cpu",
    )
    scorer = Scorer(options, [net["model_config"] for net in nets], [net["model"] for net in nets])
    found = joined([scorer.score(number) for number in range(options.num_slices)], val.samples)
    assert len(found.column_names) == 3 + 1 + 2 * 3 * 4  # who it is, brightness, scores
    assert pq.read_table(evaluated / "predictions.parquet").select(found.column_names).equals(found)
    assert len(loaders) == options.num_slices, "two nets, but each image is decoded once"


def test_features_and_neighbours_are_those_of_a_plain_loop(
    evaluated: Path, two_checkpoints: list[Path], shards: Path
) -> None:
    val, train = (plain_features(two_checkpoints[0], shards / "tar", split) for split in ("val", "train"))
    predictions = pq.read_table(evaluated / "predictions.parquet")
    np.testing.assert_allclose(np.stack(predictions["features"].to_pylist()), val, rtol=1e-4, atol=1e-4)
    samples = {row["id"]: row for row in read_samples(shards / "tar" / "train").to_pylist()}
    ids = np.array(list(samples))
    for query in queries_of(read_report(evaluated / "report.json")):
        distances = np.linalg.norm(train - val[query.id], axis=1)
        assert [row.id for row in query.nearest] == ids[np.argsort(distances)[:6]].tolist()
        for row in query.nearest:
            assert (row.key, row.label) == (samples[row.id]["key"], samples[row.id]["label"])
            assert row.distance == pytest.approx(distances[ids == row.id].item(), rel=1e-4)


def test_report_json_holds_the_counts(evaluated: Path, two_checkpoints: list[Path], shards: Path) -> None:
    report = read_report(evaluated / "report.json")
    predictions = pq.read_table(evaluated / "predictions.parquet")
    for protocol, entry in report.protocols.items():
        for k, of in ((1, entry.top1), (5, entry.top5)):
            counted = errors(predictions, protocol, k)
            assert (of.wrong, of.total) == (counted.wrong, counted.total)
        assert sum(row.total for row in entry.calibration.bins) == len(predictions)
        assert sum(row.total for row in entry.confusions) == entry.top1.wrong > 0  # 3 classes: all pairs
        assert entry.per_class.total == (3, 3, 3)
        assert sum(entry.per_class.wrong_top1) == entry.top1.wrong
        assert sum(entry.per_class.wrong_top5) == entry.top5.wrong
        for bins in entry.by_property.values():
            assert sum(row.total for row in bins) == len(predictions)
            assert sum(row.wrong for row in bins) == entry.top1.wrong
    assert report.chance.top1.error == pytest.approx(2 / 3) and report.chance.top5.error == 0
    assert [each.sha256 for each in report.checkpoints] == [file_sha256(path) for path in two_checkpoints]
    for each in report.comparisons:
        one, other = (report.protocols[name].top1.wrong for name in (each.first, each.second))
        assert each.only_first - each.only_second == other - one
    pairs = [(each.first, each.second) for each in report.comparisons]
    assert pairs == [(f"net1-{protocol}", f"net2-{protocol}") for protocol in ("centre", "ten-crop", "dense")]
    assert report.input == Input(crop_size=224, mean="window", normalize=False)
    assert report.dense == DenseCrops(sides=DENSE.sides, grid=DENSE.grid)
    assert report.data.digest == Manifest.load(shards / "tar" / "val").digest
    assert report.predictions_sha256 == file_sha256(evaluated / "predictions.parquet")


def kill_an_actor_at_work(job: subprocess.Popen[str]) -> bool:
    """Kills an actor of `job` while it scores a slice; False where the job ended first."""
    while job.poll() is None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if b"ray::Scorer.score" in (folder / "cmdline").read_bytes():
                    os.kill(int(folder.name), signal.SIGKILL)
                    return True
            except OSError:  # the process is gone
                continue
        time.sleep(0.005)
    return False


def test_two_actors_one_of_them_killed_give_the_bytes_of_one(
    evaluated: Path, two_checkpoints: list[Path], shards: Path, tmp_path: Path
) -> None:
    job = start(two_checkpoints, shards / "tar", tmp_path, "--num-actors", "2", *MORE)
    killed = kill_an_actor_at_work(job)
    status, output = finish(job)
    assert status == 0, output
    assert killed
    assert sorted(contents(tmp_path)) == sorted(RESULTS)
    assert contents(tmp_path) == contents(evaluated)


def test_an_altered_shard_is_named_and_nothing_is_written(checkpoint: Path, shards: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "train").symlink_to(shards / "tar" / "train")
    (data / "val").mkdir()
    for file in (shards / "tar" / "val").iterdir():
        (data / "val" / file.name).write_bytes(file.read_bytes())
    sample = read_samples(data / "val").to_pylist()[3]
    shard = data / "val" / Manifest.load(data / "val").shards[sample["shard"]].name
    content = bytearray(shard.read_bytes())
    content[sample["offset"] + sample["size"] // 2] ^= 1
    shard.write_bytes(content)
    status, output = finish(start([checkpoint], data, tmp_path / "out"))
    assert status == 1
    (message,) = (line for line in output.splitlines() if line.startswith("error: "))
    assert shard.name in message
    assert contents(tmp_path / "out") == {}

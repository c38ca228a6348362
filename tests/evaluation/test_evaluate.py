"""The evaluation: each sample judged exactly once, as a slow and plain loop would, for any number of actors."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.stats
import torch
import tyro
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imagefeed.jobs.evaluation.config import EvaluateConfig, command
from imagefeed.jobs.evaluation.crops import Dense, images_of
from imagefeed.jobs.evaluation.evaluate import crew, evaluate
from imagefeed.jobs.evaluation.predictions import Errors, Part, Protocol, errors, joined, num_slices, rank_classes
from imagefeed.jobs.evaluation.scorer import Scorer, ScorerOptions, exactly, score_batch
from imagefeed.jobs.evaluation.summary import described, examples
from imagefeed.jobs.report.evaluation_page import ReportInputs, neighbour_ids, render, shown_ids
from imagefeed.jobs.runs.checkpoints import check_fit, check_together, read_checkpoint
from imagefeed.jobs.training.sample_run import sample_checkpoint
from imagefeed.model.alexnet import AlexNet
from imagefeed.model.checkpoint import save_checkpoint
from imagefeed.pipeline.dataset.manifest import Manifest
from imagefeed.pipeline.dataset.tables import read_mean_image, read_samples
from imagefeed.pipeline.files.hashing import file_sha256
from imagefeed.pipeline.loader.batches import Batch
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from imagefeed.pipeline.loader.loader import Loader
from imagefeed.pipeline.sampling.order import PAD, RankSlice, epoch_order
from tests.evaluation.test_crops import slow_views

ROOT = Path(__file__).resolve().parents[2]
DENSE = Dense(sides=(300, 240), grid=2)  # one enlarges, one reduces
MORE = (
    *("--features", "--neighbours", "--protocols", "centre", "ten-crop", "dense"),
    *("--dense-sides", "300", "240", "--dense-grid", "2"),
)
RESULTS = ("predictions.parquet", "report.json", "report.html")

# Decisions, without a cluster


@given(st.integers(1, 5000), st.integers(1, 70))
def test_slices_hold_every_sample_once_and_none_is_empty(num_samples: int, batch_size: int) -> None:
    slices = num_slices(num_samples, batch_size)
    order = epoch_order(np.arange(num_samples), seed=0, epoch=0, shuffle=False)
    seen = []
    for number in range(slices):
        share = RankSlice(batch_size=batch_size, rank=number, world_size=slices)
        batches = range(share.num_batches(num_samples))
        assert len(batches) <= 8
        rows = np.concatenate([share.entries(order, batch * share.global_batch) for batch in batches])
        assert (rows != PAD).any()
        seen.append(rows[rows != PAD])
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), order)


@given(st.integers(0, 2**32), st.integers(1, 9), st.sampled_from([1, 2, 5, 40]))
def test_ranks_follow_probability_then_index(seed: int, num_samples: int, num_classes: int) -> None:
    rng = np.random.default_rng(seed)
    # Few different values, so that many are equal: ties are where an order may be an accident.
    probabilities = rng.integers(0, 4, (num_samples, num_classes)).astype(np.float32) / 4
    labels = rng.integers(0, num_classes, num_samples)
    scores = rank_classes(probabilities, labels)
    for i, (row, label) in enumerate(zip(probabilities.tolist(), labels.tolist(), strict=True)):
        order = sorted(range(num_classes), key=lambda c: (-row[c], c))
        assert scores.top_classes[i].tolist() == order[:5]
        assert scores.top_probabilities[i].tolist() == [row[c] for c in order[:5]]
        assert scores.true_rank[i] == order.index(label) + 1
        assert scores.true_probability[i] == row[label]


def part_of(ids: Any, labels: np.ndarray) -> Part:
    """Scores of the samples `ids`, each a function of its id."""
    ids = np.array(ids, np.int64)
    probabilities = np.stack([np.random.default_rng(i).dirichlet(np.ones(7)) for i in ids]).astype(np.float32)
    return Part(ids, labels[ids], {"centre": rank_classes(probabilities, labels[ids])})


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 7, 20)


@pytest.fixture
def samples(labels: np.ndarray) -> pa.Table:
    keys = [f"key-{i}" for i in range(20)]
    return pa.table({"id": np.arange(20), "key": keys, "label": labels.astype(np.int32), "other": keys})


def test_joined_parts_do_not_depend_on_how_the_work_was_cut(labels: np.ndarray, samples: pa.Table) -> None:
    whole = joined([part_of(range(20), labels)], samples)
    shuffled = np.random.default_rng(4).permutation(20)
    assert joined([part_of(ids, labels) for ids in np.split(shuffled, [3, 4, 11])], samples).equals(whole)
    assert whole.column_names[:4] == ["id", "key", "label", "centre_top_classes"]
    assert whole["id"].to_pylist() == list(range(20))


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ([range(19)], r"of 20 samples 1 were not scored \(ids 19\)"),
        ([range(10, 20)], r"10 were not scored \(ids 0, 1, 2, 3, 4, \.\.\.\)"),
        ([range(20), [7, 9]], r"2 were scored more than once \(ids 7, 9\)"),
        ([range(19), [3]], r"1 were not scored \(ids 19\); 1 were scored more than once \(ids 3\)"),
    ],
)
def test_a_sample_short_or_over_is_an_error(
    cuts: list[Any], message: str, labels: np.ndarray, samples: pa.Table
) -> None:
    with pytest.raises(ValueError, match=message):
        joined([part_of(ids, labels) for ids in cuts], samples)


def test_foreign_samples_and_labels_are_errors(labels: np.ndarray, samples: pa.Table) -> None:
    with pytest.raises(ValueError, match=r"5 are not in the split \(ids 15"):
        joined([part_of(range(20), labels)], samples.slice(0, 15))
    with pytest.raises(ValueError, match="labels"):
        joined([part_of(range(20), np.roll(labels, 1))], samples)


@pytest.mark.parametrize(("wrong", "total"), [(0, 1), (1, 1), (0, 200), (3, 200), (100, 200), (20350, 50000)])
def test_the_interval_is_wilsons(wrong: int, total: int) -> None:
    expected = scipy.stats.binomtest(wrong, total).proportion_ci(method="wilson")
    low, high = Errors(wrong, total).interval()
    np.testing.assert_allclose((low, high), expected, atol=1e-12)
    assert (low == 0) == (wrong == 0), "no error at all is an exact 0, not a rounding error beside it"
    assert (high == 1) == (wrong == total)


def test_errors_are_counted(labels: np.ndarray, samples: pa.Table) -> None:
    predictions = joined([part_of(range(20), labels)], samples)
    ranks = predictions["centre_true_rank"].to_pylist()
    assert errors(predictions, "centre", 1) == Errors(sum(rank > 1 for rank in ranks), 20)
    assert errors(predictions, "centre", 5) == Errors(sum(rank > 5 for rank in ranks), 20)


def test_examples_are_spread_over_the_split(labels: np.ndarray, samples: pa.Table) -> None:
    predictions = joined([part_of(range(20), labels)], samples)
    found = examples(predictions, "centre")
    assert [row["id"] for row in found] == [0, 2, 5, 8, 10, 13, 16, 19]
    for row, of in zip(found, predictions.take([row["id"] for row in found]).to_pylist(), strict=True):
        assert (row["key"], row["label"]) == (of["key"], of["label"])
        assert [each["label"] for each in row["top"]] == of["centre_top_classes"]
        assert [each["probability"] for each in row["top"]] == of["centre_top_probabilities"]
    assert [row["id"] for row in examples(predictions.slice(0, 3), "centre")] == [0, 1, 2]


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


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"num_actors": 0},
        {"threads": -1},
        {"protocols": ()},
        {"protocols": ("centre", "centre")},
        {"dense_sides": (300,)},  # and no dense crops
        {"dense_grid": 2},
        {"data": Path("somewhere")},
        {"checkpoint": (Path("somewhere"),)},
    ],
)
def test_impossible_options_are_refused(options: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        EvaluateConfig(**options)


def test_the_command_leaves_out_what_changes_nothing() -> None:
    files: dict[str, Any] = {"checkpoint": (Path("/a.pt"),), "data": Path("/b"), "out": Path("/c")}
    begins = "python jobs/evaluate.py --checkpoint CHECKPOINT --data DATA --out OUT"
    assert command(EvaluateConfig(**files, num_actors=7), "cpu", 1) == f"{begins} --device cpu"
    config = EvaluateConfig(**files, split="test", protocols=("centre",), batch_size=8, other_data=True)
    assert command(config, "cuda", 1) == (
        f"{begins} --split test --protocols centre --batch-size 8 --device cuda --other-data"
    )
    args = ["--checkpoint", "A", "B", *command(config, "cuda", 2).split()[5:]]
    assert tyro.cli(EvaluateConfig, args=args).batch_size == 8
    assert "CHECKPOINT1 CHECKPOINT2" in command(config, "cuda", 2)


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


# The net's scores


def batch_of(images: torch.Tensor, valid: list[bool]) -> Batch:
    """A batch with labels 0, 1, 2, 0, ... and ids 100, 101, ..."""
    mask = torch.tensor(valid)
    rows = torch.arange(len(valid))
    return Batch(images, torch.where(mask, rows % 3, -100), torch.where(mask, rows + 100, -1), mask)


def tiny_net(seed: int = 5) -> AlexNet:
    torch.manual_seed(seed)
    return AlexNet(num_classes=3, width=0.05, initialisation="he").eval()


def test_ten_crops_are_averaged_after_the_softmax() -> None:
    net = tiny_net()
    images = 60 * torch.randn(4, 10, 3, 224, 224)
    part = score_batch([net], batch_of(images, [True] * 4), ("centre", "ten-crop"))
    for i in range(4):
        with torch.no_grad():
            rows = [torch.exp(z - z.logsumexp(0)).double() for z in (net(crop[None])[0] for crop in images[i])]
        for protocol, expected in (("centre", rows[4]), ("ten-crop", torch.stack(rows).mean(0))):
            scores = part.scores[protocol]
            assert scores.true_probability[i] == pytest.approx(expected[i % 3].item(), rel=1e-4)
            assert scores.top_classes[i].tolist() == expected.argsort(descending=True).tolist()


def test_an_ensemble_is_the_mean_of_the_nets_probabilities() -> None:
    nets = [tiny_net(seed) for seed in (5, 6, 7)]
    batch = batch_of(60 * torch.randn(4, 10, 3, 224, 224), [True, True, False, True])
    together = score_batch(nets, batch, ("centre", "ten-crop")).scores
    assert list(together) == [
        prefix + protocol for protocol in ("centre", "ten-crop") for prefix in ("", "net1-", "net2-", "net3-")
    ]
    for protocol in ("centre", "ten-crop"):
        for number, net in enumerate(nets, start=1):
            alone = score_batch([net], batch, ("centre", "ten-crop")).scores[protocol]
            np.testing.assert_array_equal(
                together[f"net{number}-{protocol}"].top_probabilities, alone.top_probabilities
            )
        crops = range(10) if protocol == "ten-crop" else [4]
        for place, i in enumerate((0, 1, 3)):
            total = np.zeros(3)
            for net in nets:
                for crop in crops:
                    with torch.no_grad():
                        logits = net(batch.images[i, crop][None])[0].double().numpy()
                    total += np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            mean = total / (len(nets) * len(crops))
            assert together[protocol].true_probability[place] == pytest.approx(mean[i % 3], rel=1e-4)
            assert together[protocol].top_classes[place].tolist() == np.argsort(-mean).tolist()


def test_the_centre_crop_is_the_same_to_the_bit_without_the_other_nine() -> None:
    net = tiny_net()
    images = 60 * torch.randn(4, 10, 3, 224, 224)
    among_ten = score_batch([net], batch_of(images, [True] * 4), ("centre", "ten-crop")).scores["centre"]
    alone = score_batch([net], batch_of(images[:, 4], [True] * 4), ("centre",)).scores["centre"]
    np.testing.assert_array_equal(alone.top_probabilities, among_ten.top_probabilities)


def test_padded_rows_leave_no_trace() -> None:
    part = score_batch([tiny_net()], batch_of(torch.randn(4, 3, 224, 224), [True, False, True, False]), ("centre",))
    assert part.sample_ids.tolist() == [100, 102]
    assert part.labels.tolist() == [0, 2]
    assert len(part.scores["centre"].true_rank) == 2


def test_a_judge_computes_in_full_float32() -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    exactly()
    assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.deterministic


def test_a_diverged_net_is_an_error() -> None:
    net = tiny_net()
    torch.nn.init.constant_(net.fc8.weight, float("nan"))
    with pytest.raises(ValueError, match="sample 100 is not a finite number"):
        score_batch([net], batch_of(torch.randn(2, 3, 224, 224), [True, False]), ("centre",))


# Checkpoints


def test_a_checkpoint_comes_with_the_digest_of_its_file(checkpoint: Path, tmp_path: Path) -> None:
    content, digest = read_checkpoint(checkpoint)
    assert digest == file_sha256(checkpoint)
    assert content["step"] == 2
    with pytest.raises(FileNotFoundError, match=r"nothing\.pt"):
        read_checkpoint(tmp_path / "nothing.pt")
    (tmp_path / "cut.pt").write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"cut\.pt"):
        read_checkpoint(tmp_path / "cut.pt")


def test_what_is_said_of_a_checkpoint_names_no_place(checkpoint: Path) -> None:
    content, digest = read_checkpoint(checkpoint)
    made: Any = {**content, "train_config": {"data": "/home/me/data", "out": "/home/me/run", "seed": 7}}
    found = described(made, digest)
    assert (found["sha256"], found["epoch"], found["step"], found["world_size"]) == (digest, 1, 2, 1)
    assert found["train_config"] == {"seed": 7}
    assert found["num_parameters"] == sum(each.numel() for each in AlexNet(**content["model_config"]).parameters())


def test_a_checkpoint_that_would_run_something_is_refused_and_runs_nothing(checkpoint: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "train_config": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(ValueError, match=r"trap\.pt"):
        read_checkpoint(tmp_path / "trap.pt")
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_other_data_is_refused(checkpoint: Path, shards: Path) -> None:
    content, _ = read_checkpoint(checkpoint)
    data = shards / "tar"
    dataset, train = open_dataset(data / "val"), Manifest.load(data / "train")
    check_fit(checkpoint, content, data, train, dataset, other_data=False)
    other: Any = {**content, "data_digest": "0" * 64}
    with pytest.raises(ValueError, match="--other-data"):
        check_fit(checkpoint, other, data, train, dataset, other_data=False)
    check_fit(checkpoint, other, data, train, dataset, other_data=True)
    fewer: Any = {**content, "classes": content["classes"][:2]}
    with pytest.raises(ValueError, match=r"last\.pt knows 2 classes, .*tar has 3"):
        check_fit(checkpoint, fewer, data, train, dataset, other_data=True)
    empty = replace(dataset, manifest=replace(dataset.manifest, num_samples=0))
    with pytest.raises(ValueError, match=r"val holds no samples: there is nothing to judge on"):
        check_fit(checkpoint, content, data, train, empty, other_data=False)
    swapped: Any = {**other, "classes": content["classes"][::-1]}
    with pytest.raises(ValueError, match="not the same"):
        check_fit(checkpoint, swapped, data, train, dataset, other_data=True)


def test_nets_that_cannot_be_fed_the_same_images_are_refused(checkpoint: Path) -> None:
    content, _ = read_checkpoint(checkpoint)
    paths = [Path("a.pt"), Path("b.pt")]

    def together(second: dict[str, Any], digests: str = "ab") -> None:
        changed: Any = {**content, **second}
        check_together(paths, [content, changed], list(digests))

    together({})
    together({"train_config": {"recipe": "alexnet"}})
    with pytest.raises(ValueError, match=r"b\.pt and a\.pt are the same checkpoint"):
        together({}, "aa")
    with pytest.raises(ValueError, match=r"b\.pt was trained with crop size 227, a\.pt with 224"):
        together({"model_config": {**content["model_config"], "input_size": 227}})
    with pytest.raises(ValueError, match=r"b\.pt was trained with mean and scale"):
        together({"train_config": {"recipe": "resnet"}})


@pytest.mark.parametrize("status", [0, 1])
def test_the_sample_run_is_trained_if_it_is_not_there(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path))
    launched: list[list[str]] = []

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        launched.append(command)
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(subprocess, "run", run)
    if status:
        with pytest.raises(RuntimeError, match="could not be trained"):
            sample_checkpoint()
    else:
        assert sample_checkpoint() == tmp_path / "run" / "checkpoint-last.pt"
    assert [command[-1] for command in launched] == [str(ROOT / "jobs" / "train.py")]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint-last.pt").touch()
    assert sample_checkpoint() == tmp_path / "run" / "checkpoint-last.pt"
    assert len(launched) == 1


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
    summary = json.loads((evaluated / "report.json").read_bytes())
    val, train = (open_dataset(shards / "tar" / split) for split in ("val", "train"))
    inputs = ReportInputs(
        summary=summary,
        kernels=torch.load(two_checkpoints[0], weights_only=True)["model"]["conv1.weight"].numpy(),
        mean_image=train.mean_image,
        images=images_of(val, shown_ids(summary)),
        train_images=images_of(train, neighbour_ids(summary)),
    )
    assert (evaluated / "report.html").read_text() == render(inputs)


def stored_images(data: Path, split: str) -> Iterator[np.ndarray]:
    """The images of a split, uint8 [H, W, 3], as Pillow decodes them, in the order of its table."""
    manifest = Manifest.load(data / split)
    for sample in read_samples(data / split).to_pylist():
        shard = data / split / manifest.shards[sample["shard"]].name
        payload = shard.read_bytes()[sample["offset"] :][: sample["size"]]
        yield np.asarray(Image.open(io.BytesIO(payload)).convert("RGB"))


def plain_loop(checkpoint: Path, data: Path) -> dict[Protocol, np.ndarray]:
    """The probabilities of all samples, [n, classes], without loader, batches or Ray: Pillow, slices and a loop."""
    content = torch.load(checkpoint, weights_only=True)
    net = AlexNet(**content["model_config"]).eval()
    net.load_state_dict(content["model"])
    mean = read_mean_image(data / "train")
    rows: dict[Protocol, list[torch.Tensor]] = {"centre": [], "ten-crop": [], "dense": []}

    def outputs(crops: Sequence[np.ndarray]) -> torch.Tensor:
        with torch.no_grad():
            each = [net(torch.tensor(crop.copy(), dtype=torch.float32)[None])[0].softmax(0) for crop in crops]
        return torch.stack(each)

    for pixels in stored_images(data, "val"):
        image = (pixels - mean).transpose(2, 0, 1)
        windows = [(0, 0), (0, 32), (32, 0), (32, 32), (16, 16)]
        crops = [image[:, y : y + 224, x : x + 224] for y, x in windows]
        ten = outputs([*crops, *(crop[:, :, ::-1] for crop in crops)])
        rows["centre"].append(ten[4])
        rows["ten-crop"].append(ten.mean(0))
        rows["dense"].append(outputs(slow_views(pixels, mean, DENSE)).mean(0))
    return {protocol: torch.stack(each).numpy() for protocol, each in rows.items()}


def test_the_job_says_what_a_plain_loop_says(evaluated: Path, two_checkpoints: list[Path], shards: Path) -> None:
    predictions = pq.read_table(evaluated / "predictions.parquet")
    samples = read_samples(shards / "tar" / "val")
    assert predictions.select(["id", "key", "label"]).equals(samples.select(["id", "key", "label"]))
    grey = [pixels[16:240, 16:240].mean() for pixels in stored_images(shards / "tar", "val")]
    np.testing.assert_allclose(predictions["brightness"], grey, rtol=1e-5)
    first, second = (plain_loop(path, shards / "tar") for path in two_checkpoints)
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


def plain_features(checkpoint: Path, data: Path, split: str) -> np.ndarray:
    """What the last layer is given for the centre crop of each sample of a split, [n, hidden], one by one."""
    content = torch.load(checkpoint, weights_only=True)
    net = AlexNet(**content["model_config"]).eval()
    net.load_state_dict(content["model"])
    mean, rows = read_mean_image(data / "train"), []
    for pixels in stored_images(data, split):
        image = (pixels - mean)[16:240, 16:240]
        with torch.no_grad():
            rows.append(net.features(torch.tensor(image.transpose(2, 0, 1)[None], dtype=torch.float32))[0].numpy())
    return np.stack(rows)


def test_features_and_neighbours_are_those_of_a_plain_loop(
    evaluated: Path, two_checkpoints: list[Path], shards: Path
) -> None:
    val, train = (plain_features(two_checkpoints[0], shards / "tar", split) for split in ("val", "train"))
    predictions = pq.read_table(evaluated / "predictions.parquet")
    np.testing.assert_allclose(np.stack(predictions["features"].to_pylist()), val, rtol=1e-4, atol=1e-4)
    samples = {row["id"]: row for row in read_samples(shards / "tar" / "train").to_pylist()}
    ids = np.array(list(samples))
    for query in json.loads((evaluated / "report.json").read_bytes())["neighbours"]["queries"]:
        distances = np.linalg.norm(train - val[query["id"]], axis=1)
        assert [row["id"] for row in query["nearest"]] == ids[np.argsort(distances)[:6]].tolist()
        for row in query["nearest"]:
            assert (row["key"], row["label"]) == (samples[row["id"]]["key"], samples[row["id"]]["label"])
            assert row["distance"] == pytest.approx(distances[ids == row["id"]].item(), rel=1e-4)


def test_pictures_are_those_of_the_samples_that_were_asked_for(shards: Path) -> None:
    train = open_dataset(shards / "tar" / "train")
    stored = dict(zip(train.columns.id.tolist(), stored_images(shards / "tar", "train"), strict=True))
    late, early = (list(stored)[row] for row in (20, 3))
    found = images_of(train, (late, early, late))
    assert list(found) == [early, late]
    for number, image in found.items():
        np.testing.assert_array_equal(image, stored[number][16:240, 16:240])
    assert images_of(train, ()) == {}


def test_report_json_holds_the_counts(evaluated: Path, two_checkpoints: list[Path], shards: Path) -> None:
    summary = json.loads((evaluated / "report.json").read_bytes())
    predictions = pq.read_table(evaluated / "predictions.parquet")
    for protocol, entry in summary["protocols"].items():
        for k in (1, 5):
            counted = errors(predictions, protocol, k)
            assert (entry[f"top{k}"]["wrong"], entry[f"top{k}"]["total"]) == (counted.wrong, counted.total)
        assert sum(row["total"] for row in entry["calibration"]["bins"]) == len(predictions)
        assert sum(row["total"] for row in entry["confusions"]) == entry["top1"]["wrong"] > 0  # 3 classes: all pairs
        assert entry["per_class"]["total"] == [3, 3, 3]
        assert [sum(entry["per_class"][f"wrong_top{k}"]) for k in (1, 5)] == [entry[f"top{k}"]["wrong"] for k in (1, 5)]
        for bins in entry["by_property"].values():
            assert sum(row["total"] for row in bins) == len(predictions)
            assert sum(row["wrong"] for row in bins) == entry["top1"]["wrong"]
    assert summary["chance"] == {"top1": {"error": pytest.approx(2 / 3)}, "top5": {"error": 0}}
    assert [each["sha256"] for each in summary["checkpoints"]] == [file_sha256(path) for path in two_checkpoints]
    for each in summary["comparisons"]:
        one, other = (summary["protocols"][each[name]]["top1"]["wrong"] for name in ("first", "second"))
        assert each["only_first"] - each["only_second"] == other - one
    pairs = [(each["first"], each["second"]) for each in summary["comparisons"]]
    assert pairs == [(f"net1-{protocol}", f"net2-{protocol}") for protocol in ("centre", "ten-crop", "dense")]
    assert summary["input"] == {"crop_size": 224, "mean": "window", "normalize": False}
    assert summary["dense"] == {"sides": list(DENSE.sides), "grid": DENSE.grid}
    assert summary["data"]["digest"] == Manifest.load(shards / "tar" / "val").digest
    assert summary["predictions_sha256"] == file_sha256(evaluated / "predictions.parquet")


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

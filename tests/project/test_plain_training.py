"""The benchmark's twin in plain torch trains the same net by the same rule, on the same pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmarks.bench_training import BenchConfig, plan
from benchmarks.plain_training import Net, Optimizer, Plan, rate_at, read, take_statistics, train
from imagefeed.jobs.training.config import defaults
from imagefeed.model.alexnet import AlexNet
from imagefeed.model.optim import PaperSGD, parameter_groups
from imagefeed.model.schedule import Progress, after_epoch, learning_rate
from imagefeed.pipeline.loader.dataset import open_dataset

STEPS_PER_EPOCH = 2


def planned(shards: Path, preset: str) -> Plan:
    return plan(BenchConfig(data=shards / "tar", width=0.0625, epochs=4, batch_size=8), preset, seed=3)


@pytest.mark.parametrize("preset", ["paper", "modern"])
def test_the_twin_takes_the_same_steps(shards: Path, preset: str) -> None:
    told = planned(shards, preset)
    steps = {"schedule": "steps", "milestones": told.milestones} if preset == "paper" else {"reference_batch": None}
    config = defaults(
        preset,
        width=told.width,
        initialisation="he",
        epochs=told.epochs,
        batch_size=told.batch_size,
        learning_rate=told.learning_rate,
        warm_up=told.warm_up,
        **steps,
    )
    ours, twin = AlexNet(num_classes=told.num_classes, **config.architecture).double(), Net(preset, 3, 0.0625).double()
    twin.load_state_dict(ours.state_dict())
    groups = parameter_groups(
        ours, weight_decay=config.weight_decay, bias_rate=config.bias_rate, bias_decay=config.bias_decay
    )
    kind = PaperSGD if config.sgd == "paper" else torch.optim.SGD
    of_ours, of_twin = kind(groups, 0.01, momentum=config.momentum), Optimizer(twin, told.learning_rate)
    progress = Progress()
    scale = 58 if preset == "paper" else 1
    for step in range(told.epochs * STEPS_PER_EPOCH):
        rate = learning_rate(config.rates, progress, step=step, steps_per_epoch=STEPS_PER_EPOCH)
        assert rate_at(told, step, STEPS_PER_EPOCH) == pytest.approx(rate, rel=1e-12)
        for group in of_ours.param_groups:
            group["lr"] = config.group_rate(group["name"], group["factor"], rate, 1)
        images = scale * torch.randn(4, 3, 224, 224, dtype=torch.float64)
        labels = torch.randint(3, (4,))
        for net in (ours, twin):
            torch.manual_seed(step)  # of dropout
            net.zero_grad()
            smoothing = 0.1 if preset == "modern" else 0.0
            cross_entropy(net(images), labels, label_smoothing=smoothing).backward()
        of_ours.step()
        of_twin.step(rate)
        if step % STEPS_PER_EPOCH == 1:
            progress = after_epoch(config.rates, progress, epoch=(step + 1) // STEPS_PER_EPOCH, error=1.0)
    torch.testing.assert_close(dict(twin.state_dict()), dict(ours.state_dict()), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(twin.eval()(images), ours.eval()(images), rtol=1e-9, atol=1e-9)
    assert config.label_smoothing == smoothing


def test_the_twin_reads_the_same_pixels(shards: Path) -> None:
    dataset = open_dataset(shards / "tar" / "train")
    samples = read(shards / "tar" / "train")
    assert sorted(label for _, label in samples) == sorted(dataset.columns.label.tolist())
    found, stated = take_statistics(samples), dataset.manifest.statistics
    assert stated is not None
    np.testing.assert_allclose(found.mean, stated.mean, rtol=1e-9)
    np.testing.assert_allclose(found.covariance, stated.covariance, rtol=1e-7)
    np.testing.assert_allclose(found.mean_image, np.load(shards / "tar" / "train" / "mean_image.npy"), rtol=1e-5)


@pytest.mark.parametrize("preset", ["paper", "modern"])
def test_a_toy_of_the_run(shards: Path, preset: str) -> None:
    lines = list(train(planned(shards, preset), shards / "tar"))
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert all(0 <= line["top5_error"] <= line["top1_error"] <= 1 and line["loss"] > 0 for line in lines)

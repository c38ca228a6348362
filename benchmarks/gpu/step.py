"""A whole training step of the paper's net, images a second, against torchvision's AlexNet as people run it.

    python -m benchmarks.gpu.step --batch-size 1024 --tflops 989       # dense bf16 of an H100 or H200
    TRITON_INTERPRET=1 python -m benchmarks.gpu.step --toy

Images are on the device already: this is what the loader has to keep up with. The share of the matrix units counts the
convolutions' and matrices' operations alone, at their limit in bfloat16 whatever the contender's type. 90 epochs are of
1,281,167 images.
"""

import argparse
from collections.abc import Callable, Sequence
from itertools import repeat
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.timing import hardware, milliseconds
from benchmarks.record import record
from imagefeed.model.alexnet import AlexNet
from imagefeed.model.optim import PaperSGD, parameter_groups
from imagefeed.model.presets import PAPER
from imagefeed.model.training import Placement, train_epoch

EPOCHS_IMAGES = 90 * 1_281_167


def torchvision_alexnet(hidden: int = 4096) -> nn.Module:
    """Layer by layer what `torchvision.models.alexnet()` is."""
    relu = nn.ReLU
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, 4, 2), relu(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), relu(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), relu()),
        *(nn.Conv2d(384, 256, 3, padding=1), relu()),
        *(nn.Conv2d(256, 256, 3, padding=1), relu(), nn.MaxPool2d(3, 2)),
        *(nn.AdaptiveAvgPool2d(6), nn.Flatten()),
        *(nn.Dropout(), nn.Linear(9216, hidden), relu(), nn.Dropout(), nn.Linear(hidden, hidden), relu()),
        nn.Linear(hidden, 1000),
    )


def theirs(images: Tensor, labels: Tensor, *, toy: bool, tf32: bool, mixed: bool, best: bool) -> Callable[[], object]:
    """A step as in torch's own examples; best: compiled, channels-last, fused SGD."""
    model = torchvision_alexnet(64 if toy else 4096).to(images.device)
    if best:
        images = images.contiguous(memory_format=torch.channels_last)
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=1e-4, fused=best or None)
    network = torch.compile(model, backend="eager" if toy else "inductor") if best else model

    def step() -> None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        optimizer.zero_grad()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=mixed):
            loss = nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()

    return step


def ours(images: Tensor, labels: Tensor, *, toy: bool) -> Callable[[], object]:
    """A step of jobs/train.py with `--dtype bfloat16 --compile default`."""
    place = Placement(device=images.device, dtype=torch.bfloat16, channels_last=True)
    architecture: dict[str, Any] = {**PAPER.architecture, "width": 0.0625 if toy else 1.0}
    network = place.network(AlexNet(num_classes=1000, **architecture))
    groups = parameter_groups(network, weight_decay=0.0005, bias_rate=1.0, bias_decay=True)
    model = torch.compile(network, backend="eager" if toy else "inductor")
    batch = SimpleNamespace(
        images=images.permute(0, 2, 3, 1).contiguous(),
        labels=labels,
        sample_ids=torch.arange(len(labels)),
        valid=torch.ones(len(labels), dtype=torch.bool, device=images.device),
    )
    steps = train_epoch(model, repeat(batch), PaperSGD(groups, 1e-5), place)  # type: ignore[arg-type]
    return lambda: next(steps)


def operations(step: Callable[[], object]) -> int:
    """Of the convolutions and matrices in a step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table; records its rows unless it is a toy's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--tflops", type=float, default=989.0, help="limit of the matrix units in bfloat16, dense")
    parser.add_argument("--toy", action="store_true", help="narrow nets on a CPU, kernels in Triton's interpreter")
    options = parser.parse_args(arguments)
    toy, gpu = options.toy, hardware(options.toy)
    size, device = (1, "cpu") if toy else (options.batch_size, "cuda")
    images = 58 * torch.randn((size, 3, 224, 224), generator=torch.Generator().manual_seed(0)).to(device)
    labels = torch.arange(size, device=device) % 1000
    standard = images / 58
    contenders: dict[str, Callable[[], Callable[[], object]]] = {
        "imagefeed, paper, bf16": lambda: ours(images, labels, toy=toy),
        "torchvision, fp32": lambda: theirs(standard, labels, toy=toy, tf32=False, mixed=False, best=False),
        "torchvision, TF32": lambda: theirs(standard, labels, toy=toy, tf32=True, mixed=False, best=False),
        "torchvision, autocast": lambda: theirs(standard, labels, toy=toy, tf32=True, mixed=True, best=False),
        "torchvision, compiled, channels last": lambda: theirs(
            standard, labels, toy=toy, tf32=True, mixed=True, best=True
        ),
    }
    print(f"{gpu}, batch {size}\n{'contender':38} {'images/s':>9} {'of matrix units':>16} {'90 epochs':>10}")
    for name, make in contenders.items():
        step = make()
        if not toy:
            step()  # compiles
        _, median, _ = milliseconds(step, toy=toy)
        speed = 1e3 * size / median
        share = operations(step) / (median / 1e3) / (options.tflops * 1e12)
        hours = EPOCHS_IMAGES / speed / 3600
        print(f"{name:38} {speed:9,.0f} {share:16.2f} {hours:8.2f} h")
        if not toy:
            figures = {"median_ms": median, "images_per_second": speed, "share": share, "hours_90_epochs": hours}
            record("gpu-step", name, {"gpu": gpu, "batch_size": size, **figures})


if __name__ == "__main__":
    main()

"""What each rank of `test_split_classifier` does: a split net and the whole one take the same steps, in float64."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from imagefeed.model.alexnet import AlexNet
from imagefeed.model.optim import PaperSGD, parameter_groups
from imagefeed.model.parallel import Compression, Exchange, agree_on_buffers, parallel
from imagefeed.model.presets import PRESETS
from imagefeed.model.split_classifier import split_classifier, split_optimizer
from imagefeed.model.training import Placement

WIDTH, NUM_CLASSES, EACH = 3 / 128, 7, 2  # 96 hidden units; EACH images a rank
CPU = Placement(device=torch.device("cpu"))


def network(preset: str, **changes: Any) -> AlexNet:
    torch.manual_seed(0)
    options = {**PRESETS[preset].architecture, "width": WIDTH, "dropout": 0.0, "initialisation": "he", **changes}
    return AlexNet(num_classes=NUM_CLASSES, **options).double()


def optimizer(preset: str, network: AlexNet) -> torch.optim.Optimizer:
    groups = parameter_groups(network, weight_decay=0.01, bias_rate=2.0, bias_decay=False)
    return (PaperSGD if PRESETS[preset].sgd == "paper" else torch.optim.SGD)(groups, 0.01, momentum=0.9)


def batch(number: int) -> tuple[Tensor, Tensor]:
    """The whole batch of a step, of all ranks."""
    generator, size = torch.Generator().manual_seed(number), EACH * dist.get_world_size()
    images = torch.randn(size, 3, 224, 224, generator=generator, dtype=torch.float64)
    return images, torch.randint(NUM_CLASSES, (size,), generator=generator)


def mine(whole: Tensor) -> Tensor:
    return whole.chunk(dist.get_world_size())[dist.get_rank()]


def train(network: AlexNet) -> None:
    """Batch norm of the convolutions stays out of it: data-parallel ranks see their own images there."""
    network.train()
    for norm in list(getattr(network, "norms", []))[:5]:
        norm.eval()


def step(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> float:
    loss = cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def states(network: AlexNet, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Any], dict[str, Any]]:
    return copy.deepcopy((dict(network.state_dict()), optimizer.state_dict()))


def split_as_whole(preset: str) -> dict[str, Any]:
    """Four steps of both; after two of them a new split net goes on from the state of the whole one."""
    whole, exchange = network(preset), Exchange()
    of_whole = optimizer(preset, whole)
    for numbers in ((0, 1), (2, 3)):
        split = network(preset)
        apart = split_classifier(split, exchange)
        of_split = optimizer(preset, split)
        split_optimizer(of_split)
        if numbers[0]:
            state, of_state = states(whole, of_whole)
            split.load_state_dict(state)
            of_split.load_state_dict(of_state)
        model = parallel(split, CPU, input_size=224, exchange=exchange, apart=apart)
        model.train()
        train(whole)
        train(split)
        for number in numbers:
            images, labels = batch(number)
            expected = step(whole, of_whole, images, labels)
            loss = torch.tensor(step(model, of_split, mine(images), mine(labels)), dtype=torch.float64)
            dist.all_reduce(loss)
            torch.testing.assert_close(loss.item() / dist.get_world_size(), expected, rtol=1e-10, atol=0)
        agree_on_buffers(split, apart=apart)
        (state, of_state), (found_state, found_of_state) = states(whole, of_whole), states(split, of_split)
        torch.testing.assert_close(found_state, state, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(found_of_state["state"], of_state["state"], rtol=1e-9, atol=1e-12)
        assert found_of_state["param_groups"] == of_state["param_groups"]
    parts = {name: list(weight.shape) for name, weight in split.named_parameters() if name in apart}
    return {"parts": parts, "bytes": exchange.num_bytes / 2}  # of a step


def sent_by_all_reduce(compression: Compression) -> tuple[int, AlexNet]:
    """Bytes of a step of the paper's net where each rank has all layers; the net has the step's gradients."""
    whole, exchange = network("paper"), Exchange(compression=compression)
    model = parallel(whole, CPU, input_size=224, exchange=exchange)
    images, labels = batch(0)
    step(model, optimizer("paper", whole), mine(images), mine(labels))
    return exchange.num_bytes, whole


def compressed() -> dict[str, int]:
    """Bytes of a step with each compression; 16 bits change gradients a little. (Here all are in one bucket.)"""
    (sent, exact), (less, rounded) = sent_by_all_reduce("none"), sent_by_all_reduce("bfloat16")
    for (name, one), other in zip(exact.named_parameters(), rounded.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(other.grad, one.grad, rtol=0, atol=0.02 * one.grad.abs().max().item())
        assert name != "fc6.weight" or not torch.equal(one.grad, other.grad)
    return {"none": sent, "bfloat16": less}


def main() -> None:
    dist.init_process_group("gloo")
    found: dict[str, Any] = {preset: split_as_whole(preset) for preset in ("paper", "torchvision", "modern")}
    found["all-reduce"] = compressed()
    if dist.get_rank() == 0:
        Path(sys.argv[1]).write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

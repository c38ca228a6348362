"""Plain torch: one process, all GPUs of a machine, or two machines. The loader finds its rank by itself.

    python docs/examples/plain_torch.py /data/imagenet-256
    torchrun --standalone --nproc_per_node=8 docs/examples/plain_torch.py /data/imagenet-256
    torchrun --nnodes=2 --nproc_per_node=8 --rdzv_backend=c10d --rdzv_endpoint=HOST:29400 \
        docs/examples/plain_torch.py /data/imagenet-256                     # the same on each of two machines

Put your own net in. A stopped run continues from `state.pt`, in the middle of an epoch too.
"""

import os
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from imagefeed import open_dataset, to_device

EPOCHS, SAVE_EVERY = 2, 1000
STATE = Path("state.pt")


def main(data: Path) -> None:
    """Trains on `data`/train."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if "RANK" in os.environ:
        torch.distributed.init_process_group("nccl" if cuda else "gloo")
    is_main = os.environ.get("RANK", "0") == "0"

    train = open_dataset(data / "train")
    loader = train.loader(recipe="resnet", batch_size=128, drop_last=False, layout="channels_last", pin_memory=cuda)
    batches = to_device(loader, device)
    torch.manual_seed(0)  # the same weights on all ranks
    pool = nn.AdaptiveAvgPool2d(1)
    net = nn.Sequential(nn.Conv2d(3, 64, 7, 4), nn.ReLU(), pool, nn.Flatten(), nn.Linear(64, len(train.classes)))
    net.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    if STATE.exists():
        state = torch.load(STATE, map_location=device, weights_only=True)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        batches.load_state_dict(state["batches"])
    model = DistributedDataParallel(net) if "RANK" in os.environ else net

    def save() -> None:
        state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "batches": batches.state_dict()}
        torch.save(state, STATE.with_suffix(".new"))
        STATE.with_suffix(".new").replace(STATE)

    step = 0
    while batches.state_dict()["epoch"] < EPOCHS:
        for images, labels, _, _ in batches:
            # Padding has the label -100, which adds nothing. A sum, as the mean of padding alone is not a number.
            loss = nn.functional.cross_entropy(model(images), labels, reduction="sum") / len(labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if is_main and step % SAVE_EVERY == 0:
                save()
        if is_main:
            save()
            print(f"after {step} steps: {batches.state_dict()}, loss {loss.item():.3f}")
    if "RANK" in os.environ:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Write a trained net in forms that other programs read.

    python jobs/export.py --checkpoint /runs/a/checkpoint-best.pt --out /runs/a/export

OUT/alexnet.safetensors   the weights by name; the net's options and the classes are its metadata
OUT/alexnet.pt2           torch.export: `torch.export.load(path).module()`, with torch alone
OUT/alexnet.onnx          checked: onnxruntime must give the logits of the net itself

Input: images float32 [B, 3, S, S] as the recipe of the training makes them; output: logits float32 [B, classes]. The
local response normalisation is written out in plain operations. Needs `pip install imagefeed[export]`.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # a script finds its own checkout: that of the submitted job, or the one it lies in
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
import tyro
from torch import Tensor

from imagefeed.model.alexnet import AlexNet
from imagefeed.model.checkpoint import Checkpoint, load_checkpoint
from imagefeed.model.lrn import reference
from imagefeed.pipeline.files.atomic import atomic
from imagefeed.pipeline.files.paths import absolute
from imagefeed.pipeline.runtime.command import run_command
from imagefeed.pipeline.runtime.parts import part

TOLERANCE = 1e-4  # of the largest logit; float32 in another order of additions


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write a trained net in forms that other programs read."""

    checkpoint: Path
    """A checkpoint of jobs/train.py."""
    out: Path
    """Folder for the files."""


def main(config: ExportConfig) -> None:
    """Writes the three files, each whole or not at all; prints their paths.

    Raises what `load_checkpoint` raises, and ValueError where onnxruntime and the net do not agree.
    """
    out = absolute(config.out)
    checkpoint = load_checkpoint(absolute(config.checkpoint))
    net = network(checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    program = exported(net)
    writers: dict[str, Callable[[Path], None]] = {
        "alexnet.safetensors": lambda path: write_safetensors(path, checkpoint),
        "alexnet.pt2": lambda path: write_program(path, program),
        "alexnet.onnx": lambda path: write_onnx(path, program, net),
    }
    for name, write in writers.items():
        with atomic(out / name) as temporary:
            write(temporary)
        print(out / name)


def network(checkpoint: Checkpoint) -> AlexNet:
    """The net of a checkpoint, in use, on the CPU."""
    net = AlexNet(**checkpoint["model_config"])
    net.load_state_dict(checkpoint["model"])
    return net.eval()


def images(net: AlexNet, count: int, seed: int) -> Tensor:
    """Noise [count, 3, S, S] as large as the net's inputs are."""
    size, scale = net.config.input_size, 58.0 if net.config.inputs == "grey levels" else 1.0
    return scale * torch.randn((count, 3, size, size), generator=torch.Generator().manual_seed(seed))


def exported(net: AlexNet) -> torch.export.ExportedProgram:
    """The net as a graph of torch's own operators, for any number of images."""
    program = torch.export.export(net, (images(net, 2, 0),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    return program.run_decompositions({torch.ops.imagefeed.local_response_norm.default: reference})


def write_safetensors(path: Path, checkpoint: Checkpoint) -> None:
    """The weights, and what they mean as text."""
    with part("export"):
        from safetensors.torch import save_file

    metadata = {
        "model_config": json.dumps(checkpoint["model_config"]),
        "classes": json.dumps(checkpoint["classes"]),
        "recipe": str(checkpoint["train_config"].get("recipe")),
    }
    save_file({name: weight.contiguous() for name, weight in checkpoint["model"].items()}, path, metadata)


def write_program(path: Path, program: torch.export.ExportedProgram) -> None:
    """torch.export's file."""
    with path.open("wb") as file:
        torch.export.save(program, file)


def write_onnx(path: Path, program: torch.export.ExportedProgram, net: AlexNet) -> None:
    """The graph in ONNX. Raises ValueError unless onnxruntime computes the net's own logits from it."""
    with part("export"):
        import onnxruntime

        model = torch.onnx.export(program, dynamo=True, verbose=False, input_names=["images"], output_names=["logits"])
    assert model is not None
    model.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    x = images(net, 3, 1)
    with torch.inference_mode():
        ours = net(x).numpy()
    theirs = session.run(["logits"], {"images": x.numpy()})[0]
    error = np.abs(ours - theirs).max() / np.abs(ours).max()
    if not error <= TOLERANCE:
        raise ValueError(f"{path.name}: onnxruntime's logits differ from the net's by {error:.1g} of the largest")


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(ExportConfig)))

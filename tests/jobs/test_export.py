"""What is exported computes what the net computes, read by the packages that others use."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from imagefeed.jobs import export
from imagefeed.jobs.export import ExportConfig, main
from imagefeed.model.alexnet import AlexNet
from imagefeed.model.checkpoint import save_checkpoint
from tests.model.test_checkpoint import example

# torch.export, of itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")


def saved(path: Path, **options: Any) -> AlexNet:
    torch.manual_seed(1)
    options = {"num_classes": 3, "width": 0.0625, "initialisation": "he"} | options
    net = AlexNet(**options)
    save_checkpoint(path, example(model_config=options, model=net.state_dict(), classes=["a", "b", "c"]))
    return net.eval()


@pytest.mark.parametrize(
    "options",
    [
        {"lrn_scope": "group", "conv1_order": "norm-pool-relu", "within_map_norm": True},
        {"norm": "batch", "layer_names": "paper", "inputs": "standard"},
    ],
    ids=["the norms of 2012", "modern"],
)
def test_every_form_computes_the_same(tmp_path: Path, options: dict[str, Any]) -> None:
    net = saved(tmp_path / "checkpoint.pt", **options)
    out = tmp_path / "out"
    main(ExportConfig(checkpoint=tmp_path / "checkpoint.pt", out=out))
    assert sorted(path.name for path in out.iterdir()) == ["alexnet.onnx", "alexnet.pt2", "alexnet.safetensors"]
    x = export.images(net, 5, 7)  # another number of images than it was traced with
    with torch.inference_mode():
        expected = net(x)

    with safe_open(out / "alexnet.safetensors", "pt") as file:
        config, classes = (json.loads(file.metadata()[name]) for name in ("model_config", "classes"))
    assert classes == ["a", "b", "c"]
    twin = AlexNet(**config).eval()
    twin.load_state_dict(load_file(out / "alexnet.safetensors"))
    with torch.inference_mode():
        assert torch.equal(twin(x), expected)

    program = torch.export.load(out / "alexnet.pt2")
    assert not [node for node in program.graph.nodes if "imagefeed" in str(node.target)]  # torch alone reads it
    torch.testing.assert_close(program.module()(x), expected, rtol=1e-4, atol=1e-5)

    session = onnxruntime.InferenceSession(out / "alexnet.onnx")
    (logits,) = session.run(None, {"images": x.numpy()})
    np.testing.assert_allclose(logits, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_an_onnx_that_computes_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "checkpoint.pt", lrn_alpha=0.01)
    monkeypatch.setattr(export, "reference", lambda x, *_: torch.relu(x))
    with pytest.raises(ValueError, match=r"onnxruntime's logits differ"):
        main(ExportConfig(checkpoint=tmp_path / "checkpoint.pt", out=tmp_path / "out"))
    assert not (tmp_path / "out" / "alexnet.onnx").exists()

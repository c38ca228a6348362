"""Nets that score slices of one split: the work of an evaluation, as one Ray actor does it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from imagefeed.jobs.evaluation.crops import Dense, dense_views, ten_views
from imagefeed.jobs.evaluation.predictions import Part, concatenated, entry_name, rank_classes
from imagefeed.jobs.report.schema import Protocol
from imagefeed.model.alexnet import AlexNet
from imagefeed.pipeline.loader.batches import Batch
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from imagefeed.pipeline.loader.normalization import normalizations, values_for
from imagefeed.pipeline.loader.options import LoaderOptions

Device = Literal["cpu", "cuda"]
CENTRE = 4  # among the ten crops: the four corners, the centre, then the mirror image of each


@dataclass(frozen=True, kw_only=True)
class ScorerOptions:
    """What all scorers of an evaluation have in common."""

    split: Path
    recipe: str  # that the nets were trained with
    crop_size: int  # pixels
    protocols: tuple[Protocol, ...]
    batch_size: int  # images
    num_slices: int
    threads: int  # CPU threads of the nets, and of decoding
    device: Device
    dense: Dense | None = None  # with protocol dense: which crops; `check_dense` has passed the split
    features: bool = False  # also the last hidden layer's outputs for the centre crop, of the first net


class Scorer:
    """Nets in memory and an open split. Slice s is what rank s of `num_slices` would be fed in an epoch."""

    def __init__(
        self, options: ScorerOptions, model_configs: list[dict[str, Any]], states: list[dict[str, Tensor]]
    ) -> None:
        torch.set_num_threads(options.threads)
        exactly()
        self.options, self.model_configs, self.states = options, model_configs, states

    # Made at the first slice: what goes wrong with them is then the error of a slice, and named as such.

    @cached_property
    def dataset(self) -> Dataset:
        """The open split."""
        return open_dataset(self.options.split)

    @cached_property
    def nets(self) -> list[AlexNet]:
        """The nets of the checkpoints, ready to be used."""
        return [
            ready(config, state, self.options.device)
            for config, state in zip(self.model_configs, self.states, strict=True)
        ]

    def score(self, number: int) -> Part:
        """The scores of slice `number`. The loader's errors name the shard and the sample."""
        dense, size = self.options.dense, self.options.crop_size
        loader = self.dataset.loader(
            # Of whole images all crops are cut here.
            recipe="ten-crop" if "ten-crop" in self.options.protocols and not dense else "eval",
            shuffle=False,
            crop_size=int(self.dataset.columns.height[0]) if dense else size,
            **values_for(self.dataset, self.options.recipe, size),
            batch_size=self.options.batch_size,
            rank=number,
            world_size=self.options.num_slices,
            num_threads=self.options.threads,
        )
        # Batches keep their full size, padding and all, so that the arithmetic never depends on who is short
        # of rows.
        levels = grey_levels(self.dataset, loader.options, size)
        parts = []
        for batch in loader:
            if batch.valid.any():
                part = score_batch(self.nets, batch, self.options.protocols, dense)
                centre, valid = centre_crop(batch.images, size), batch.valid.numpy()
                more = {"brightness": levels.mean_of(centre)[valid]}
                if self.options.features:
                    more["features"] = features(self.nets[0], centre)[valid]
                parts.append(replace(part, more=more))
        return concatenated(parts)


def centre_crop(images: Tensor, size: int) -> Tensor:
    """The centre crop [B, 3, S, S] of a batch's images: ten crops of each, [B, 10, 3, S, S], that alone, or it all."""
    if images.ndim == 5:
        return images[:, CENTRE]
    top, left = ((side - size) // 2 for side in images.shape[2:])
    return images[:, :, top : top + size, left : left + size]


def exactly() -> None:
    """From now on this process computes in full float32, and the same way each time, as a judge must."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


def ready(config: dict[str, Any], state: dict[str, Tensor], device: str) -> AlexNet:
    """The net of a checkpoint's `model_config` and `model`, ready to be used."""
    net = AlexNet(**config)
    net.load_state_dict(state, assign=True)
    return net.eval().to(device)


@torch.inference_mode()
def features(net: AlexNet, crops: Tensor) -> np.ndarray:
    """The outputs of the last hidden layer, float32 [B, 4096] at width 1, for crops [B, 3, S, S]."""
    crops = crops.to(next(net.parameters()).device).contiguous()
    return net.features(crops).cpu().numpy()


@torch.inference_mode()
def score_batch(
    nets: Sequence[AlexNet], batch: Batch, protocols: tuple[Protocol, ...], dense: Dense | None = None
) -> Part:
    """The scores of a batch's valid rows. `batch.images`: float32 [B, 3, S, S], or ten crops, [B, 10, 3, S, S].

    With `dense`, which protocol dense needs, they are the whole images [B, 3, H, W], from which all crops are cut.

    Of several nets each has its own entries, and the ensemble, the mean of their probabilities, those of net 0.
    One crop of all images goes through a net at a time: the centre crop's scores are then the same to the last
    bit whether or not the other nine are asked for. Raises `ValueError` where an output is not a finite number.
    """
    images = batch.images.to(next(nets[0].parameters()).device, non_blocking=True)
    size = nets[0].config.input_size
    if dense is not None and "ten-crop" in protocols:
        views = ten_views(images, size)
    else:
        views = [crop.contiguous() for crop in (images.unbind(1) if images.ndim == 5 else [centre_crop(images, size)])]
    whole = images if dense is not None else None
    valid = batch.valid.numpy()
    sample_ids, labels = batch.sample_ids.numpy()[valid], batch.labels.numpy()[valid]
    each_net = [probabilities(net, views, whole, dense) for net in nets]
    scores = {}
    for protocol in protocols:
        alone = [by_protocol[protocol] for by_protocol in each_net]  # each [B, classes]
        members = enumerate(alone, start=1) if len(nets) > 1 else ()
        for number, values in [(0, torch.stack(alone).mean(0)), *members]:
            rows = values.cpu().numpy()[valid]
            if not np.isfinite(rows).all():
                bad = sample_ids[~np.isfinite(rows).all(axis=1)]
                raise ValueError(
                    f"the net's output for sample {bad[0]} is not a finite number: the run diverged, judge an "
                    "earlier checkpoint or train again at a lower rate"
                )
            scores[entry_name(protocol, number)] = rank_classes(rows, labels)
    return Part(sample_ids, labels, scores)


def probabilities(
    net: AlexNet, views: Sequence[Tensor], whole: Tensor | None, dense: Dense | None
) -> dict[Protocol, Tensor]:
    """A net's softmax outputs [B, classes] by each protocol, from one crop or ten, each [B, 3, S, S], and from whole
    images [B, 3, H, W] where dense crops are asked for."""
    outputs = [net(view).softmax(1) for view in views]
    centre = outputs[CENTRE if len(outputs) == 10 else 0]
    found: dict[Protocol, Tensor] = {"centre": centre, "ten-crop": torch.stack(outputs).mean(0)}
    if whole is not None and dense is not None:
        size = net.config.input_size
        found["dense"] = torch.stack([net(view).softmax(1) for view in dense_views(whole, size, dense)]).mean(0)
    return found


@dataclass(frozen=True)
class GreyLevels:
    """What a centre crop's values were made with, channel by channel: (grey level - `offset`) * `scale`."""

    offset: np.ndarray  # float64 [3]: over all places of the crop, the mean of what was subtracted there
    scale: np.ndarray  # float64 [3]

    def mean_of(self, crops: Tensor) -> np.ndarray:
        """The mean grey level, 0 to 255, over pixels and channels of centre crops [B, 3, S, S]: float32 [B]."""
        means = crops.double().mean((2, 3)).cpu().numpy()
        return (means / self.scale + self.offset).mean(1).astype(np.float32)


def grey_levels(dataset: Dataset, options: LoaderOptions, size: int) -> GreyLevels:
    """Those of a loader of `dataset` with these options, in planes and without colour, for centre crops of `size`."""
    look = normalizations(dataset, options)[1]
    means = look.means[0].astype(np.float64)  # [3, H, W]
    top, left = ((means.shape[i] - size) // 2 if look.follows else 0 for i in (1, 2))
    window = means[:, top : top + size, left : left + size]
    return GreyLevels(window.mean((1, 2)), look.scale[:3].astype(np.float64))

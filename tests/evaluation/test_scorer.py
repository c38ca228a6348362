"""A net's scores: crops averaged after the softmax, ensembles, and nothing left of padding."""

import numpy as np
import pytest
import torch

from imagefeed.jobs.evaluation.scorer import exactly, score_batch
from imagefeed.model.alexnet import AlexNet
from imagefeed.pipeline.loader.batches import Batch


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

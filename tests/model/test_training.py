"""One step is what the paper says for any padding and any ranks, and is drawn again alike after a restart."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from imagefeed.model.optim import PaperSGD
from imagefeed.model.training import Diverged, Placement, Step, train_epoch, validate

CPU = Placement(device=torch.device("cpu"))
NUM_CLASSES = 7


class Batch(NamedTuple):
    images: Tensor
    labels: Tensor
    sample_ids: Tensor
    valid: Tensor


def batches(count: int, size: int = 6) -> list[Batch]:
    generator = torch.Generator().manual_seed(5)
    return [
        Batch(
            torch.randn(size, 3, 8, 8, generator=generator),
            torch.randint(NUM_CLASSES, (size,), generator=generator),
            torch.arange(number * size, (number + 1) * size),
            torch.ones(size, dtype=torch.bool),
        )
        for number in range(count)
    ]


def padded(batch: Batch, num_valid: int) -> Batch:
    valid = torch.arange(len(batch.labels)) < num_valid
    images, labels = batch.images * valid[:, None, None, None], batch.labels.masked_fill(~valid, -100)
    return batch._replace(images=images, labels=labels, valid=valid)


def network(dropout: float = 0.5) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(4 * 36, NUM_CLASSES)
    )


def weights(model: nn.Module) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def gradient(model: nn.Module, batch: Batch) -> Tensor:
    """What one step leaves as gradient."""
    (_,) = train_epoch(model, [batch], PaperSGD(model.parameters(), 1e-9), CPU)
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


def test_a_full_batch_has_the_gradient_of_its_mean_loss() -> None:
    (batch,) = batches(1)
    model = network(dropout=0)
    functional.cross_entropy(model(batch.images), batch.labels).backward()
    expected = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    torch.testing.assert_close(gradient(network(dropout=0), batch), expected)


def test_each_sample_weighs_the_same_in_a_padded_batch() -> None:
    (batch,) = batches(1)
    alone = [gradient(network(0), Batch(*(part[i : i + 1] for part in batch))) for i in range(4)]
    expected = torch.stack(alone).sum(0) / 6
    torch.testing.assert_close(gradient(network(0), padded(batch, 4)), expected)


def test_the_mean_over_ranks_is_the_gradient_of_the_whole_batch() -> None:
    (batch,) = batches(1)
    batch = padded(batch, 4)  # the padding falls on the second rank alone
    ranks = [gradient(network(0), Batch(*(part[i : i + 3] for part in batch))) for i in (0, 3)]
    torch.testing.assert_close(torch.stack(ranks).mean(0), gradient(network(0), batch))


def test_a_batch_of_nothing_but_padding_has_no_gradient() -> None:
    (batch,) = batches(1)
    assert gradient(network(), padded(batch, 0)).count_nonzero() == 0


def trained(model: nn.Module, data: list[Batch], optimizer: PaperSGD, **options: Any) -> Tensor:
    for _ in train_epoch(model, data, optimizer, CPU, **options):
        pass
    return weights(model)


def test_a_restart_in_the_middle_draws_the_same_dropout() -> None:
    data = batches(6)
    model = network()
    expected = trained(model, data, PaperSGD(model.parameters()), seed=9)

    first, second = network(), network()
    optimizer = PaperSGD(first.parameters())
    trained(first, data[:3], optimizer, seed=9)
    second.load_state_dict(first.state_dict())
    continued = PaperSGD(second.parameters())
    continued.load_state_dict(optimizer.state_dict())
    torch.rand(17)  # a new process has drawn other numbers by then
    assert torch.equal(trained(second, data[3:], continued, first_step=4, seed=9), expected)


def test_seed_rank_and_step_each_change_the_dropout_and_do_not_add_up() -> None:
    keys = [(seed, rank, step) for seed in (0, 1) for rank in (0, 1) for step in (1, 2)]
    results = []
    for seed, rank, step in keys:
        model = network()
        optimizer = PaperSGD(model.parameters())
        results.append(trained(model, batches(1), optimizer, seed=seed, rank=rank, first_step=step))
    for i, one in enumerate(results):
        assert not any(torch.equal(one, other) for other in results[:i])


def test_a_loss_that_is_not_finite_stops_at_once_and_names_the_step() -> None:
    data = batches(4)
    data[2].images[0, 0, 0, 0] = torch.nan
    model = network()
    steps = train_epoch(model, data, PaperSGD(model.parameters()), CPU, first_step=11)
    assert [next(steps).step, next(steps).step] == [11, 12]
    before = weights(model)
    with pytest.raises(FloatingPointError, match=r"step 13: the loss is nan on sample 12; try"):
        next(steps)
    assert torch.equal(weights(model), before)


def test_steps_count_their_samples_and_their_time() -> None:
    data = [*batches(2), padded(batches(1)[0], 1)]
    model = network()
    steps = list(train_epoch(model, data, PaperSGD(model.parameters()), CPU))
    assert [step.step for step in steps] == [1, 2, 3]
    assert [step.counts[0].item() for step in steps] == [6, 6, 1]
    assert all(0 <= step.seconds_waiting <= step.seconds for step in steps)


def test_validation_counts_each_valid_sample_without_dropout() -> None:
    data = [*batches(2), padded(batches(3)[2], 2)]
    model = network()
    result = validate(model, data, CPU, num_samples=14)
    images = torch.cat([batch.images[batch.valid] for batch in data])
    labels = torch.cat([batch.labels[batch.valid] for batch in data])
    logits = model.eval()(images)
    assert result.num_samples == 14
    assert result.loss == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert result.top1_error == (logits.argmax(1) != labels).sum().item() / 14


def test_validation_that_misses_or_repeats_samples_is_an_error() -> None:
    for num_samples in (11, 13):
        with pytest.raises(ValueError, match=f"counted 12 samples, the split has {num_samples}"):
            validate(network(), batches(2), CPU, num_samples=num_samples)


def test_validation_with_broken_weights_is_an_error() -> None:
    model = network()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="validation loss is nan"):
        validate(model, batches(1), CPU, num_samples=6)


def test_training_follows_validation_with_dropout_on() -> None:
    data = batches(3)
    one, other = network(), network()
    validate(other, data, CPU, num_samples=18)
    expected = trained(one, data, PaperSGD(one.parameters()))
    assert torch.equal(trained(other, data, PaperSGD(other.parameters())), expected)


def test_images_may_come_with_channels_last() -> None:
    data = batches(2)
    turned = [batch._replace(images=batch.images.permute(0, 2, 3, 1).contiguous()) for batch in data]
    place = Placement(device=torch.device("cpu"), channels_last=True)
    result = validate(place.network(network()), turned, place, num_samples=12)
    assert result.loss == pytest.approx(validate(network(), data, CPU, num_samples=12).loss, rel=1e-5)


def test_mixed_precision_keeps_the_weights_in_float32() -> None:
    model, place = network(), Placement(device=torch.device("cpu"), dtype=torch.bfloat16)
    before = weights(model)
    (step,) = train_epoch(model, batches(1), PaperSGD(model.parameters()), place)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert not torch.equal(weights(model), before)
    reference = network()
    (exact,) = train_epoch(reference, batches(1), PaperSGD(reference.parameters()), CPU)
    assert step.counts[3].item() == pytest.approx(exact.counts[3].item(), rel=0.02)
    assert step.counts[3].item() != exact.counts[3].item()


@pytest.mark.parametrize("num_valid", [6, 4, 1])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(num_valid: int) -> None:
    batch = padded(batches(1)[0], num_valid)
    model = network(dropout=0)
    whole = gradient(network(dropout=0), batch)
    (step,) = train_epoch(model, [batch], PaperSGD(model.parameters(), 1e-9), CPU, accumulate=3)
    parts = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    torch.testing.assert_close(parts, whole)
    assert step.counts[0] == num_valid and len(step.losses) == 6


def test_a_smoothed_label_is_shared_out_over_all_classes() -> None:
    (batch,) = batches(1)
    model = network(dropout=0)
    targets = 0.9 * functional.one_hot(batch.labels, NUM_CLASSES) + 0.1 / NUM_CLASSES
    functional.cross_entropy(model(batch.images), targets).backward()
    expected = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    model = network(dropout=0)
    list(train_epoch(model, [batch], PaperSGD(model.parameters(), 1e-9), CPU, label_smoothing=0.1))
    found = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    torch.testing.assert_close(found, expected)


def test_float16_trains_with_a_scaled_loss_and_skips_a_step_that_overflows() -> None:
    model, place = network(), Placement(device=torch.device("cpu"), dtype=torch.float16)
    scaler = place.scaler()
    before = weights(model)
    scaler.load_state_dict({**scaler.state_dict(), "scale": 2.0**40})  # beyond what float16 can hold
    list(train_epoch(model, batches(1), PaperSGD(model.parameters()), place, scaler=scaler))
    assert torch.equal(weights(model), before)
    assert scaler.get_scale() == 2.0**39
    scaler.load_state_dict({**scaler.state_dict(), "scale": 2.0**8})
    (step,) = train_epoch(model, batches(1), PaperSGD(model.parameters()), place, scaler=scaler)
    exact = network()
    (twin,) = train_epoch(exact, batches(1), PaperSGD(exact.parameters()), CPU)
    assert step.counts[3].item() == pytest.approx(twin.counts[3].item(), rel=0.01)
    torch.testing.assert_close(weights(model), weights(exact), rtol=1e-2, atol=1e-4)


def test_an_error_names_the_samples_that_are_broken_and_some_of_many() -> None:
    losses = torch.ones(40)
    step = Step(3, torch.zeros(4), 0.0, 0.0, losses, torch.arange(100, 140))
    step.check()
    losses[5] = torch.inf
    with pytest.raises(Diverged, match="step 3: the loss is inf on sample 105; try a lower learning rate"):
        step.check()
    losses[:] = torch.nan
    with pytest.raises(Diverged, match="on sample 100, 101, .*, 115 and 24 more; try"):
        step.check()

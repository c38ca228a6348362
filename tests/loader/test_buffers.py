"""Memory is lent to one holder at a time and comes back when the last view of it is gone."""

import numpy as np
import pytest
import torch

from imagefeed.pipeline.loader.buffers import DTYPES, Buffers


def address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@pytest.mark.parametrize("dtype", list(DTYPES))
def test_tensor_and_array_are_the_same_memory(dtype: str) -> None:
    tensor, array = Buffers((2, 3), dtype, 4).take()
    assert tensor.dtype == getattr(torch, dtype)
    assert list(tensor.shape) == [2, 3] and array.dtype == np.uint8 and array.nbytes == tensor.nbytes
    array[:] = 0
    assert not tensor.any()
    tensor[1, 2] = 1
    assert array.reshape(-1)[-tensor.element_size() :].any() and not array[0].any()


def test_memory_that_is_held_is_not_lent_again() -> None:
    buffers = Buffers((100,), "float32", 2)
    held = [buffers.take()[0] for _ in range(10)]
    assert len({address(tensor) for tensor in held}) == 10


def test_memory_is_lent_again_once_it_is_free() -> None:
    buffers = Buffers((100,), "float16", 2)
    places = set()
    for _ in range(10):
        tensor, _ = buffers.take()
        places.add(address(tensor))
        del tensor
    assert len(places) == 1


@pytest.mark.parametrize(
    "view",
    [
        lambda tensor: tensor[3:5],
        lambda tensor: tensor.numpy(),
        lambda tensor: tensor.view(torch.uint8),
        lambda tensor: tensor.detach().reshape(2, 50),
        lambda tensor: tensor.untyped_storage(),
        lambda tensor: torch.utils.dlpack.from_dlpack(tensor),
        lambda tensor: memoryview(tensor.numpy()),
    ],
)
def test_every_kind_of_view_holds_the_memory(view) -> None:
    buffers = Buffers((100,), "float32", 2)
    tensor, _ = buffers.take()
    place, kept = address(tensor), view(tensor)
    del tensor
    other, _ = buffers.take()
    assert address(other) != place
    del kept
    again, _ = buffers.take()
    assert address(again) == place


def test_no_more_is_kept_than_asked() -> None:
    buffers = Buffers((100,), "uint8", 3)
    held = [buffers.take()[0] for _ in range(10)]
    del held
    assert len(buffers._free) == 3


def test_memory_outlives_the_pool() -> None:
    tensor, array = Buffers((100,), "float32", 1).take()
    array.view(np.float32)[:] = 5
    del array
    assert (tensor == 5).all()
    del tensor

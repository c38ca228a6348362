"""The choices are those of the paper, and each depends on (seed, epoch, sample id) only."""

import numpy as np
import pytest

from pipeline.moments import Moments, Statistics, statistics
from pipeline.recipes import RECIPES, choose, colour_basis, fixed_views
from tests import reference

NONE = np.empty((0, 3), np.int32)


@pytest.fixture(scope="module")
def colours() -> Statistics:
    """Statistics of correlated colours, as photographs have them."""
    rng = np.random.default_rng(0)
    moments = Moments()
    shades = rng.normal(120, 50, (64, 64, 1)) + rng.normal(0, 12, (64, 64, 3))
    moments.add(shades.clip(0, 255).astype(np.uint8))
    return statistics(moments)


def test_random_choices_are_those_of_the_slow_twin(colours: Statistics) -> None:
    ids = np.array([0, 1, 5, 2**40])
    views, offsets = choose(np.uint64(7), 3, ids, (32, 17), NONE, colour_basis(colours))
    assert views.shape == (4, 1, 3) and offsets.dtype == np.float32
    for i, sample_id in enumerate(ids.tolist()):
        assert tuple(views[i, 0]) == reference.random_view(7, 3, sample_id, (32, 17))
        assert np.allclose(offsets[i], reference.random_colour(7, 3, sample_id, colours), rtol=1e-6)


def test_a_choice_does_not_depend_on_the_company(colours: Statistics) -> None:
    ids = np.arange(20)
    together = choose(np.uint64(1), 0, ids, (32, 32), NONE, colour_basis(colours))
    for i in ids:
        alone = choose(np.uint64(1), 0, ids[i : i + 1], (32, 32), NONE, colour_basis(colours))
        assert (alone[0][0] == together[0][i]).all() and (alone[1][0] == together[1][i]).all()


def test_all_windows_and_both_mirrors_are_equally_likely() -> None:
    views, _ = choose(np.uint64(0), 0, np.arange(33 * 33 * 2 * 20), (32, 32), NONE, np.zeros((3, 3)))
    top, left, mirror = views[:, 0].T
    counts = np.bincount((top * 33 + left) * 2 + mirror)
    assert len(counts) == 2178  # every window, mirrored and not
    chi_square = ((counts - 20.0) ** 2 / 20.0).sum()
    assert abs(chi_square - 2177) < 4 * np.sqrt(2 * 2177)


def test_colours_lie_along_the_principal_components_with_a_tenth_of_their_deviation(colours: Statistics) -> None:
    _, offsets = choose(np.uint64(0), 0, np.arange(50_000), (0, 0), NONE, colour_basis(colours))
    along = offsets.astype(np.float64) @ np.array(colours.eigenvectors)
    assert np.allclose(along.std(axis=0), 0.1 * np.sqrt(colours.eigenvalues), rtol=0.02)
    assert np.allclose(np.corrcoef(along.T), np.eye(3), atol=0.02)


def test_the_second_epoch_and_the_next_seed_choose_anew(colours: Statistics) -> None:
    basis, ids = colour_basis(colours), np.arange(300)
    first = choose(np.uint64(0), 0, ids, (32, 32), NONE, basis)
    for seed, epoch in ((0, 1), (1, 0)):
        other = choose(np.uint64(seed), epoch, ids, (32, 32), NONE, basis)
        assert (first[0] == other[0]).all(axis=(1, 2)).mean() < 0.02
        assert (first[1] != other[1]).all()


def test_windows_and_colours_are_drawn_apart() -> None:
    views, offsets = choose(np.uint64(0), 0, np.arange(20_000), (32, 32), NONE, np.eye(3))
    both = np.corrcoef(views[:, 0].T.astype(float), offsets.T)
    assert np.abs(both - np.eye(6)).max() < 0.03


@pytest.mark.parametrize("recipe", ["eval", "ten-crop"])
def test_fixed_views_are_the_papers_in_its_order(recipe: str) -> None:
    for room in (0, 1, 32, 33):
        expected = reference.views_of(recipe, 0, 0, 0, room)
        fixed = fixed_views(RECIPES[recipe], (room, room))
        assert list(map(tuple, fixed.tolist())) == expected
        assert RECIPES[recipe].num_views == len(expected)
    views, offsets = choose(np.uint64(0), 0, np.arange(3), (33, 33), fixed, np.zeros((3, 3)))
    assert (views == fixed).all() and (offsets == 0).all()


def test_training_draws_one_view() -> None:
    assert RECIPES["alexnet"].num_views == 1 and len(fixed_views(RECIPES["alexnet"], (32, 32))) == 0

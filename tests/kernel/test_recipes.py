"""The choices are those of the paper, and each depends on (seed, epoch, sample id, turn) and the image's size only."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from imagefeed.pipeline.dataset.statistics import Moments, Statistics, statistics
from imagefeed.pipeline.kernel.recipes import OK, RECIPES, TOO_SMALL, Rules, colour, decide, rules_of
from imagefeed.pipeline.loader.normalization import colour_basis
from tests.support import reference

BLACK = np.zeros((3, 3))


@pytest.fixture(scope="module")
def colours() -> Statistics:
    """Statistics of correlated colours, as photographs have them."""
    rng = np.random.default_rng(0)
    moments = Moments()
    shades = rng.normal(120, 50, (64, 64, 1)) + rng.normal(0, 12, (64, 64, 3))
    moments.add(shades.clip(0, 255).astype(np.uint8))
    return statistics(moments)


def rules(recipe: str, size: int = 224, short: int = 0, basis: np.ndarray = BLACK, **changes: Any) -> Rules:
    return rules_of(replace(RECIPES[recipe], **changes), size=size, short=short, basis=basis)


def windows(rules: Rules, drawn: int, height: int, width: int, seed: int = 0, epoch: int = 0, turn: int = 0) -> list:
    chosen = np.full((max(1, len(rules.fixed)), 5), np.nan)
    assert decide(rules, np.uint64(seed), epoch, drawn, turn, height, width, chosen) == OK
    return [tuple(each) for each in chosen.tolist()]


@pytest.mark.parametrize("recipe", list(RECIPES))
@pytest.mark.parametrize("short", [0, 256])
def test_windows_are_those_of_the_slow_twin(recipe: str, short: int) -> None:
    for height, width in ((256, 256), (256, 341), (400, 300), (224, 224), (333, 500)) + ((97, 200),) * (short > 0):
        for drawn in (0, 1, 5, 2**40):
            for turn in (0, 3):
                if short and min(height, width) == 224:
                    continue
                found = windows(rules(recipe, short=short), drawn, height, width, seed=7, epoch=3, turn=turn)
                assert found == reference.windows_of(recipe, 7, 3, drawn, height, width, 224, short, turn)
                assert len(found) == RECIPES[recipe].num_views
                for top, left, down, across, mirror in found:
                    assert 0 <= top <= top + down <= height + 1e-9 and 0 <= left <= left + across <= width + 1e-9
                    assert mirror in (0, 1)


@pytest.mark.parametrize("recipe", ["alexnet", "resnet"])
@pytest.mark.parametrize("hflip", [0.0, 0.25, 0.5, 1.0])
def test_so_many_windows_are_mirrored_as_was_asked(recipe: str, hflip: float) -> None:
    mirrors = [windows(rules(recipe, hflip=hflip), i, 256, 256)[0][4] for i in range(4000)]
    assert abs(np.mean(mirrors) - hflip) <= 4 * np.sqrt(hflip * (1 - hflip) / len(mirrors))


def test_areas_and_shapes_are_those_that_were_asked_for() -> None:
    asked = rules("resnet", scale=(0.25, 0.36), ratio=(0.5, 2.0))
    _, _, heights, widths, _ = np.array([windows(asked, i, 400, 400)[0] for i in range(4000)]).T
    areas, shapes = heights * widths / 400**2, widths / heights
    assert areas.min() > 0.249 and areas.max() < 0.361 and abs(areas.mean() - 0.305) < 0.003
    assert 0.49 < shapes.min() < 0.51 and 1.96 < shapes.max() < 2.04 and abs(np.log(shapes).mean()) < 0.03


def test_a_colour_is_that_of_the_slow_twin(colours: Statistics) -> None:
    with_colour = rules("alexnet", basis=colour_basis(colours))
    for sample_id, turn in ((0, 0), (5, 2), (2**40, 0)):
        expected = reference.random_colour(7, 3, sample_id, colours, turn)
        assert np.allclose(colour(with_colour, np.uint64(7), 3, sample_id, turn), expected, rtol=1e-6)


def test_all_windows_and_both_mirrors_are_equally_likely() -> None:
    places = np.array([windows(rules("alexnet"), i, 256, 256)[0] for i in range(33 * 33 * 2 * 20)], int)
    top, left, _, _, mirror = places.T
    counts = np.bincount((top * 33 + left) * 2 + mirror)
    assert len(counts) == 2178  # every window, mirrored and not
    chi_square = ((counts - 20.0) ** 2 / 20.0).sum()
    assert abs(chi_square - 2177) < 4 * np.sqrt(2 * 2177)


def test_resized_windows_have_the_areas_and_shapes_they_should() -> None:
    found = np.array([windows(rules("resnet"), i, 400, 500)[0] for i in range(20_000)])
    area, ratio = found[:, 2] * found[:, 3] / (400 * 500), found[:, 3] / found[:, 2]
    assert area.min() > 0.079 and 0.97 < area.max() <= 1 and ratio.min() > 0.74 and ratio.max() < 1.35
    # Small windows always fit: among those the area is uniform, the logarithm of the shape too.
    small = area < 0.4
    assert abs(area[small].mean() - 0.24) < 0.005 and abs(np.log(ratio[small]).mean()) < 0.01
    assert abs(found[:, 4].mean() - 0.5) < 0.015


def test_an_image_of_an_odd_shape_falls_back_to_its_central_part() -> None:
    tall, wide = windows(rules("resnet"), 0, 3000, 30)[0], windows(rules("resnet"), 0, 30, 3000)[0]
    assert tall[:4] == (1480, 0, 40, 30) and wide[:4] == (0, 1480, 30, 40)


def test_colours_lie_along_the_principal_components_with_a_tenth_of_their_deviation(colours: Statistics) -> None:
    with_colour = rules("alexnet", basis=colour_basis(colours))
    offsets = np.array([colour(with_colour, np.uint64(0), 0, i, 0) for i in range(50_000)])
    along = offsets @ np.array(colours.eigenvectors)
    assert np.allclose(along.std(axis=0), 0.1 * np.sqrt(colours.eigenvalues), rtol=0.02)
    assert np.allclose(np.corrcoef(along.T), np.eye(3), atol=0.02)


def test_the_second_epoch_the_next_seed_and_the_next_turn_choose_anew() -> None:
    for recipe in ("alexnet", "resnet"):
        chosen = [
            [windows(rules(recipe), i, 256, 256, seed, epoch, turn)[0] for i in range(300)]
            for seed, epoch, turn in ((0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1))
        ]
        for other in chosen[1:]:
            assert np.mean([a == b for a, b in zip(chosen[0], other, strict=True)]) < 0.02


def test_windows_and_colours_are_drawn_apart() -> None:
    plain = rules("alexnet", basis=np.eye(3))
    places = np.array([windows(plain, i, 256, 256)[0] for i in range(20_000)])[:, [0, 1, 4]]
    offsets = np.array([colour(plain, np.uint64(0), 0, i, 0) for i in range(20_000)])
    both = np.corrcoef(places.T, offsets.T)
    assert np.abs(both - np.eye(6)).max() < 0.03


@pytest.mark.parametrize("recipe", ["alexnet", "eval", "ten-crop"])
def test_an_image_smaller_than_the_crop_is_said_to_be(recipe: str) -> None:
    chosen = np.zeros((10, 5))
    for height, width in ((223, 300), (300, 223)):
        assert decide(rules(recipe), np.uint64(0), 0, 0, 0, height, width, chosen) == TOO_SMALL

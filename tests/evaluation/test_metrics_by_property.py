"""Error by property, brightness and the facts of the data, against what a plain look at the images says."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.jobs.evaluation.data_summary import data_facts
from imagefeed.jobs.evaluation.metrics_by_property import bins_of, properties_of
from imagefeed.jobs.evaluation.scorer import grey_levels
from imagefeed.jobs.report.evaluation_charts import property_chart
from imagefeed.jobs.report.schema import ImageSize, PropertyBin
from imagefeed.jobs.report.vega import static_svg
from imagefeed.pipeline.dataset.tables import read_samples
from imagefeed.pipeline.loader.dataset import open_dataset


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200), st.integers(1, 10))
def test_bins_hold_every_sample_once_in_order(values: list[int], num_bins: int) -> None:
    array = np.array(values, float)
    wrong = np.random.default_rng(0).random(len(values)) < 0.4
    rows = bins_of(array, wrong, num_bins)
    assert len(rows) <= num_bins
    assert all(first.high < second.low for first, second in pairwise(rows))
    assert sum(row.total for row in rows) == len(values)
    for row in rows:
        inside = (array >= row.low) & (array <= row.high)
        assert (row.total, row.wrong) == (inside.sum(), wrong[inside].sum())
        assert {row.low, row.high} <= set(values)
        assert row.mean == pytest.approx(array[inside].mean())
        assert row.error_low <= row.error <= row.error_high


def test_bins_of_different_values_are_of_one_size() -> None:
    rows = bins_of(np.random.default_rng(1).permutation(80).astype(float), np.zeros(80, bool), 8)
    assert [row.total for row in rows] == [10] * 8


def test_the_intervals_of_a_bin_are_drawn() -> None:
    row = PropertyBin(low=1.0, high=9.0, mean=5.0, wrong=5, total=10, error=0.5, error_low=-0.4, error_high=0.8)
    drawn = static_svg(property_chart("brightness", [row]))
    assert ">80%<" in drawn and ">\N{MINUS SIGN}40%<" in drawn, "the axis reaches as far as they do"


@pytest.mark.parametrize("options", [{}, {"mean": "channel", "normalize": True}, {"mean": "centre"}])
def test_brightness_is_the_mean_of_the_pixels_that_the_net_sees(shards: Path, options: dict) -> None:
    dataset = open_dataset(shards / "tar" / "val")
    plain, loader = (
        dataset.loader(recipe="eval", batch_size=9, num_threads=1, **each) for each in ({"dtype": "uint8"}, options)
    )
    (pixels,), (values,) = plain, loader
    found = grey_levels(dataset, loader.options, 224).mean_of(values.images)
    np.testing.assert_allclose(found, pixels.images.double().mean((1, 2, 3)), rtol=1e-5)
    assert np.ptp(found) > 5


def test_properties_come_in_the_order_of_the_ids_and_unknown_sizes_are_left_out() -> None:
    samples = pa.table({"id": [1, 0], "size": [10, 20], "height": [2, 3], "width": [4, 5]})
    predictions = pa.table({"id": [0, 1], "brightness": [7.0, 8.0]})
    found = properties_of(samples, predictions)
    assert {name: values.tolist() for name, values in found.items()} == {
        "bytes": [20, 10],
        "pixels": [15, 8],
        "brightness": [7, 8],
    }
    unknown = samples.set_column(2, "height", pa.array([0, 3]))
    assert "pixels" not in properties_of(unknown, predictions)


def test_the_facts_are_those_of_the_tables_and_the_manifests(shards: Path) -> None:
    train, val = (open_dataset(shards / "tar" / split) for split in ("train", "val"))
    facts = data_facts(val, train)
    assert facts.splits["train"].images_a_class == (12, 8, 8) and facts.splits["val"].images_a_class == (3,) * 3
    assert facts.splits["train"].num_quarantined == 1
    assert facts.splits["val"].sizes == (ImageSize(height=256, width=256, total=9),)
    for name, split in facts.splits.items():
        sizes = read_samples(shards / "tar" / name)["size"].to_numpy()
        assert split.image_bytes == sizes.sum()
        files = [file.stat().st_size for file in (shards / "tar" / name).glob("*.tar")]
        assert (split.num_shards, split.shard_bytes, split.format) == (len(files), sum(files), "tar")
        for row in split.histogram[:-1]:
            assert row.total == ((sizes >= row.low) & (sizes < row.high)).sum()
        assert sum(row.total for row in split.histogram) == split.num_samples == len(sizes)
    pixels = np.concatenate([batch.images.reshape(-1, 3).numpy() for batch in train.loader(
        recipe="eval", dtype="uint8", layout="NHWC", crop_size=256, batch_size=4, drop_last=True
    )])  # fmt: skip
    assert facts.pixels is not None
    np.testing.assert_allclose(facts.pixels.mean, pixels.mean(0), rtol=1e-6)
    np.testing.assert_allclose(facts.pixels.deviation, pixels.std(0), rtol=1e-6)

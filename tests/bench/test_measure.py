"""`imagefeed bench`: what was measured adds up, and the advice follows from it."""

import dataclasses
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from benchmarks.contenders.memory import copy_all
from imagefeed.pipeline.bench.advice import UNEXPLAINED, advice, parts, plot, tables
from imagefeed.pipeline.bench.ceilings import decode_all, decode_crops, hash_all, write_crops
from imagefeed.pipeline.bench.measure import measure
from imagefeed.pipeline.bench.results import BenchOptions, BenchResults, Output, Rate
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.jit.views import bytes_at
from imagefeed.pipeline.loader.batches import BatchPlanner
from imagefeed.pipeline.loader.dataset import Dataset, open_dataset
from imagefeed.pipeline.loader.options import LoaderOptions
from tests.support import reference


def output(dtype: str, layout: str, size: int, images_per_second: float, **more: float) -> Output:
    rate = Rate(images_per_second=images_per_second, cpu_seconds=2 / images_per_second, **more)
    write = Rate(images_per_second=2 / 25e-6, cpu_seconds=25e-6)
    return Output(dtype=dtype, layout=layout, bytes_per_image=size, rate=rate, write=write)


# A machine on which only decoding is slow: 2 threads, 200 us a crop; libjpeg-turbo takes three times as long.
SOUND = BenchResults(
    name="/data/train",
    num_samples=1_281_167,
    mean_size=20_000.0,
    stored_bytes=25_600_000_000,
    pixel_bytes=251_900_000_000,
    memory_bytes=64_000_000_000,
    num_threads=2,
    read_cold=50_000.0,
    read_warm=200_000.0,
    decoder="own",
    decode={
        1: Rate(images_per_second=5000, cpu_seconds=200e-6),
        2: Rate(images_per_second=10_000, cpu_seconds=200e-6),
    },
    decode_turbo=Rate(images_per_second=3333, cpu_seconds=600e-6),
    hash=Rate(images_per_second=500_000, cpu_seconds=4e-6),
    copy_bytes=10e9,
    outputs=(output("float32", "NCHW", 602_112, 8200.0), output("uint8", "NHWC", 150_528, 8700.0)),
    device="",
    device_bytes=0.0,
)


def test_each_part_is_as_measured_and_what_is_left_has_its_sign() -> None:
    spent = parts(SOUND, SOUND.outputs[1])
    assert spent["hash"] == 4e-6 and spent["decode"] == 200e-6 and spent["write"] == 25e-6
    assert spent[UNEXPLAINED] == pytest.approx(2 / 8700 - 229e-6) and spent["wait"] == pytest.approx(0)
    assert sum(spent.values()) == pytest.approx(2 / 8700)


def test_time_without_a_processor_is_waiting() -> None:
    slow = Rate(images_per_second=4000, cpu_seconds=240e-6)
    spent = parts(SOUND, dataclasses.replace(SOUND.outputs[1], rate=slow))
    assert spent["wait"] == pytest.approx(2 / 4000 - 240e-6)
    assert spent[UNEXPLAINED] == pytest.approx(240e-6 - 229e-6)


def test_a_decoder_that_is_not_the_loaders_is_noticed() -> None:
    """Were the loader's decoder measured as libjpeg-turbo, the parts would take longer than the loader: that is said,
    and no part is made to fit."""
    wrong = dataclasses.replace(SOUND, decode={1: SOUND.decode_turbo, 2: SOUND.decode_turbo})  # type: ignore[dict-item]
    spent = parts(wrong, wrong.outputs[1])
    assert spent["decode"] == 600e-6 and spent["write"] == 25e-6
    assert spent[UNEXPLAINED] == pytest.approx(2 / 8700 - 629e-6) and spent[UNEXPLAINED] < 0
    said = "\n".join(advice(wrong))
    assert "The parts alone take 629 us an image and the loader 230: do not trust the parts" in said
    assert "Decode-bound" not in said
    assert "do not trust" not in "\n".join(advice(SOUND))
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(tables(wrong))
    assert re.search(r"uint8 NHWC +4 +600 +25 +-399 +0", console.export_text())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "Decode-bound: 87% .* is that of imagefeed's own decoder .200 us for a crop; libjpeg-turbo takes 600 us"),
        ({"decoder": "turbojpeg"}, "Decode-bound: 87% of a thread's time is that of libjpeg-turbo. More cores"),
        ({"read_cold": 1000.0}, "Disk-bound when cold: it gives 1,000 images/s .* fit into memory"),
        ({"read_cold": 1000.0, "memory_bytes": 8 * 10**9}, "do not fit into 8.0 GB of memory: use a faster"),
        ({"outputs": (output("float32", "NCHW", 602_112, 4000.0), SOUND.outputs[1])}, "uint8 NHWC comes 2.17 times"),
        ({"decode": {1: SOUND.decode[1], 2: SOUND.decode[1]}}, "2 threads decode 1.0 times as much as one"),
        ({"outputs": (output("uint8", "NHWC", 150_528, 5000.0, foreign=1.1),)}, "Other processes used up to 1.1 cores"),
        ({"device": "H1", "device_bytes": 1e9}, "The way to H1 carries 6,643 images/s as uint8"),
    ],
)
def test_the_advice_follows_from_the_findings(change: dict, words: str) -> None:
    found = "\n".join(advice(dataclasses.replace(SOUND, **change)))
    assert re.search(words, found), found
    assert found.splitlines()[-1].startswith("Best here: dtype='uint8'")


def test_a_sound_machine_hears_of_nothing_but_the_codec() -> None:
    assert len(list(advice(SOUND))) == 2


@pytest.mark.parametrize("format", ["tar", "beton"])
def test_everything_is_measured(shards: Path, tmp_path: Path, format: str) -> None:
    dataset = open_dataset(shards / format / "train")
    said: list[str] = []
    findings = measure(dataset, BenchOptions(seconds=0.3, batch_size=8, num_threads=2), said.append)
    assert findings.num_samples == 28 and set(findings.decode) == {1, 2} and "decoding" in said
    assert findings.mean_size == pytest.approx(dataset.columns.size.mean())
    assert findings.decoder == LoaderOptions().decoder and findings.decode_turbo is not None
    rates = [findings.read_cold, findings.read_warm, findings.copy_bytes, findings.hash.images_per_second]
    rates += [findings.decode_turbo.images_per_second, *(each.write.images_per_second for each in findings.outputs)]
    assert min(rates + [each.rate.images_per_second for each in findings.outputs]) > 0
    assert [each.bytes_per_image for each in findings.outputs] == [602_112, 301_056, 301_056, 150_528]
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(tables(findings))
    text = console.export_text()
    assert "What to change" in text and "loader, uint8 NHWC" in text
    assert "decode, own, 2 threads" in text and "turbojpeg, 2 threads" in text
    for name in ("plot.svg", "plot.png"):
        plot(findings, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000


def test_the_command(shards: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "imagefeed", "bench", str(shards / "tar" / "train")]
    command += ["--seconds", "0.3", "--plot", str(tmp_path / "bench.svg")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "What to change" in done.stdout and "decoding" in done.stderr
    assert (tmp_path / "bench.svg").read_text().startswith("<?xml")
    wrong = subprocess.run([*command, "--batch-size", "0"], capture_output=True, text=True, timeout=120)
    assert wrong.returncode != 0 and "batch_size must be at least 1" in wrong.stdout + wrong.stderr


def planner_of(dataset: Dataset, **options: Any) -> BatchPlanner:
    return BatchPlanner(dataset, LoaderOptions(**{"recipe": "eval", "dtype": "uint8", "layout": "NHWC"} | options))


def test_the_parts_take_every_row(shards: Path) -> None:
    dataset = open_dataset(shards / "tar" / "train")
    rows = np.arange(len(dataset))
    assert decode_all(dataset, rows, 2) == hash_all(dataset, rows, 2) == 28
    assert decode_crops(planner_of(dataset, batch_size=5), rows, 2) == 28


def test_a_payload_that_does_not_decode_is_an_error(shards: Path, tmp_path: Path) -> None:
    split = Path(shutil.copytree(shards / "tar" / "train", tmp_path / "train"))
    shard = split / "shard-00001.tar"
    shard.write_bytes(bytes(shard.stat().st_size))
    dataset = open_dataset(split)
    for decode in (decode_all, lambda dataset, rows, threads: decode_crops(planner_of(dataset), rows, threads)):
        with pytest.raises(ValueError, match=r"\d payloads could not be decoded: an epoch of the loader names them"):
            decode(dataset, np.arange(28), 2)


def test_what_is_decoded_is_what_the_loader_decodes(shards: Path, tmp_path: Path) -> None:
    """Its own decoder does not come to the end of an image, below the crop; libjpeg-turbo, and a loader of it, do."""
    split = Path(shutil.copytree(shards / "tar" / "train", tmp_path / "train"))
    dataset = open_dataset(split)
    columns, rows = dataset.columns, np.arange(1)
    shard = split / dataset.manifest.shards[columns.shard[0]].name
    data = bytearray(shard.read_bytes())
    end = int(columns.offset[0] + columns.size[0])
    data[end - 62 : end - 2] = bytes(60)  # and the mark of the end stays
    shard.write_bytes(data)
    small: dict[str, Any] = {"crop_size": 32, "batch_size": 1}
    assert decode_crops(planner_of(dataset, **small), rows, 1) == 1
    with pytest.raises(ValueError, match="1 payloads could not be decoded"):
        decode_crops(planner_of(dataset, **small, decoder="turbojpeg"), rows, 1)
    with pytest.raises(ValueError, match="1 payloads could not be decoded"):
        decode_all(dataset, rows, 1)


def test_what_is_written_is_what_the_loader_writes(shards: Path) -> None:
    dataset = open_dataset(shards / "tar" / "train")
    images = [reference.stored_image(dataset, row) for row in range(5)]
    (expected,) = dataset.loader(recipe="eval", dtype="float16", batch_size=5, sample_ids=dataset.columns.id[:5])
    planner = planner_of(dataset, dtype="float16", layout="NCHW", batch_size=5)
    assert write_crops(planner, images, np.arange(5), 2) == 5
    found = [planner.buffers.take()[0] for _ in range(2)]  # the memory that was written, given back
    assert any(torch.equal(each, expected.images) for each in found)


def test_copying_writes_what_is_stored(images: Path, tmp_path: Path) -> None:
    convert(images, tmp_path, ConvertOptions(format="beton", raw=True))
    dataset = open_dataset(tmp_path / "val")
    out = np.zeros((9, 200, 2 * 3 * 200), np.uint8)
    assert copy_all(dataset, np.arange(9), out, 2) == 9
    addresses, maps = dataset.payload_addresses(np.arange(9))
    for i, address in enumerate(addresses):
        window = bytes_at(address, 256 * 256 * 3).reshape(256, 768)[:200, :600]
        assert np.array_equal(out[i, :, :600], window) and np.array_equal(out[i, :, 600:], window)
    del maps


@pytest.mark.parametrize("options", [{"seconds": 0}, {"batch_size": 0}, {"num_threads": 0}])
def test_options_that_cannot_be_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        BenchOptions(**options)

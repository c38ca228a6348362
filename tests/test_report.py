"""The page: what it shows is what it was given, it stands alone, and a real browser draws it without complaint."""

import base64
import io
import re
import shutil
import subprocess
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from jobs.analyses import calibration, confusions
from jobs.figures import Record, kernel_grid, smoothed, training_curves
from jobs.report import PAPER, ReportInputs, best_and_worst, class_accuracies, read_metrics, render
from jobs.scores import Part, Protocol, Scores, errors, joined, rank_classes
from pipeline.manifest import Class

NUM_SAMPLES = 120
PROTOCOLS: tuple[Protocol, ...] = ("centre", "ten-crop")


def made_up_inputs(num_classes: int = 12, num_kernels: int = 24) -> ReportInputs:
    """Random numbers in the place of a net's: nothing here was ever measured."""
    rng = np.random.default_rng(0)
    labels = np.arange(NUM_SAMPLES) % num_classes
    probabilities = rng.dirichlet(np.ones(num_classes), NUM_SAMPLES).astype(np.float32)
    scores: dict[str, Scores] = {protocol: rank_classes(probabilities, labels) for protocol in PROTOCOLS}
    keys = [f"val/{i:03d}" for i in range(NUM_SAMPLES)]
    samples = pa.table({"id": np.arange(NUM_SAMPLES), "key": keys, "label": labels.astype(np.int32)})
    predictions = joined([Part(np.arange(NUM_SAMPLES), labels, scores)], samples)

    def entry(protocol: Protocol, k: int) -> dict[str, Any]:
        counted = errors(predictions, protocol, k)
        low, high = counted.interval()
        return {**asdict(counted), "error": counted.error, "low": low, "high": high}

    summary = {
        "split": "val",
        "num_samples": NUM_SAMPLES,
        "num_quarantined": 1,
        "num_classes": num_classes,
        "chance": {"top1": {"error": 1 - 1 / num_classes}, "top5": {"error": 1 - 5 / num_classes}},
        "protocols": {
            protocol: {
                "protocol": protocol,
                "net": 0,
                "calibration": calibration(predictions, protocol),
                "confusions": confusions(predictions, protocol),
                "description": "made up",
                "top1": entry(protocol, 1),
                "top5": entry(protocol, 5),
            }
            for protocol in PROTOCOLS
        },
        "checkpoints": [
            {
                "sha256": "c" * 64,
                "epoch": 3,
                "step": 30,
                "num_parameters": 1234567,
                "model_config": {"num_classes": num_classes, "width": 0.25},
            }
        ],
        "comparisons": [],
        "data": {"digest": "d" * 64, "train_digest": "e" * 64},
        "predictions_sha256": "f" * 64,
        "device": "cpu",
        "versions": {"torch": "0.0"},
    }
    return ReportInputs(
        summary=summary,
        predictions=predictions,
        classes=[Class(f"n{i:08d}", f"made-up class {i}, second name") for i in range(num_classes)],
        kernels=rng.normal(size=(num_kernels, 3, 11, 11)).astype(np.float32),
        metrics=made_up_metrics(),
        images={i: rng.integers(0, 256, (224, 224, 3), dtype=np.uint8) for i in (0, 60, 119)},
    )


def made_up_metrics() -> list[Record]:
    train = [{"kind": "train", "epoch": 1 + s // 10, "step": s, "loss": 3 - s / 20} for s in range(1, 31)]
    val = [
        {"kind": "val", "epoch": e, "step": 10 * e, "loss": 3 - e / 2, "top1_error": 0.9 - e / 5, "top5_error": 0.2}
        for e in (1, 2, 3)
    ]
    return [*train, *val]


class Page(HTMLParser):
    """What a page holds: its tags with their attributes, its text, and whether each element was closed in order."""

    VOID = frozenset({"meta", "img", "br", "path", "use", "rect", "line", "circle", "polyline"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += " "  # two elements are two words
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def image_of(url: str | None) -> np.ndarray:
    assert url is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition("base64,")[2]))))


def test_the_page_shows_the_numbers_it_was_given() -> None:
    inputs = made_up_inputs()
    text = " ".join(Page(render(inputs)).text.replace("\u00a0", " ").split())
    for protocol in PROTOCOLS:
        for k in (1, 5):
            counted = errors(inputs.predictions, protocol, k)
            low, high = (f"{100 * bound:.1f} %" for bound in counted.interval())
            assert f"{100 * counted.error:.1f} % {low} to {high} {counted.wrong} of {NUM_SAMPLES}" in text
    assert "1 234 567 parameters" in text
    assert "c" * 64 in text


def test_the_page_shows_calibration_and_the_most_confused_pairs() -> None:
    inputs = made_up_inputs()
    text = " ".join(Page(render(inputs)).text.replace("\u00a0", " ").split())
    answer = inputs.summary["protocols"]["ten-crop"]
    ece, bins = answer["calibration"]["ece"], answer["calibration"]["bins"]
    assert f"is {100 * ece:.1f} % (ECE; bins that hold samples: {len(bins)})" in text
    pairs = [
        f"made-up class {pair['label']} → made-up class {pair['predicted']} {pair['total']}"
        for pair in answer["confusions"][:10]
    ]
    assert " ".join(pairs) in text


def test_each_image_stands_with_its_likeliest_classes() -> None:
    inputs = made_up_inputs()
    page = Page(render(inputs))
    shown = [image for image in page.of("img") if image.get("class") != "kernels"]
    rows = inputs.predictions.to_pylist()
    for image, (number, pixels) in zip(shown, inputs.images.items(), strict=True):
        row = rows[number]
        assert image["alt"] == f"{row['key']}: made-up class {row['label']}"
        assert np.abs(image_of(image["src"]).mean(axis=(0, 1)) - pixels.mean(axis=(0, 1))).max() < 3
        bars = [
            f"made-up class {label} {100 * probability:.0f} %"
            for label, probability in zip(row["ten_crop_top_classes"], row["ten_crop_top_probabilities"], strict=True)
        ]
        assert " ".join(bars) in " ".join(page.text.replace("\u00a0", " ").split())


def test_class_accuracies_count_what_is_right() -> None:
    inputs = made_up_inputs()
    rows = inputs.predictions.to_pylist()
    accuracies = class_accuracies(inputs.predictions, "centre", [each.words for each in inputs.classes])
    assert [each["accuracy"] for each in accuracies] == sorted((each["accuracy"] for each in accuracies), reverse=True)
    for number, each in enumerate(inputs.classes):
        mine = [row["centre_true_rank"] == 1 for row in rows if row["label"] == number]
        (found,) = (row for row in accuracies if row["words"] == each.words)
        assert (found["right"], found["total"]) == (sum(mine), len(mine))


def test_the_same_inputs_give_the_same_characters() -> None:
    assert render(made_up_inputs()) == render(made_up_inputs())


def test_the_page_stands_alone_and_every_picture_has_words() -> None:
    page = Page(render(made_up_inputs()))
    assert not page.of("script") + page.of("link") + page.of("iframe")
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name) or "#"
            assert target.startswith(("data:image/", "#")), (tag, target[:80])
        assert "http" not in (attributes.get("style") or "")
    assert all(image["alt"] for image in page.of("img"))
    assert all(figure.get("aria-label") for figure in page.of("figure") if figure.get("role") == "img")


def test_ids_are_unique_and_all_references_lead_somewhere() -> None:
    html = render(made_up_inputs())
    ids = [attributes["id"] for _, attributes in Page(html).tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    referred = re.findall(r'(?:url\(#|href="#)([^)"]+)', html)
    assert referred
    assert set(referred) <= set(ids)


def test_of_several_nets_the_page_shows_each_their_ensemble_and_who_is_better() -> None:
    inputs = made_up_inputs(1000)
    answer = inputs.summary["protocols"]
    members = {
        f"net{net}-{name}": {**each, "net": net, "top1": {**each["top1"], "error": net / 10}}
        for net in (1, 2)
        for name, each in answer.items()
    }
    compared = {"first": "net1-ten-crop", "second": "net2-ten-crop", "only_first": 11, "only_second": 4, "p": 0.118}
    summary = {
        **inputs.summary,
        "protocols": answer | members,
        "checkpoints": [{**inputs.summary["checkpoints"][0], "sha256": digest * 64} for digest in "ab"],
        "comparisons": [compared],
    }
    text = " ".join(Page(render(replace(inputs, summary=summary))).text.replace("\u00a0", " ").split())
    assert "Ten crops, ensemble" in text and "Ten crops, net 1 10.0 %" in text and "Centre crop, net 2 20.0 %" in text
    assert "Ten crops, net 1 and net 2 11 4 0.12" in text
    assert text.count("five nets") == 1, "the paper's ensemble stands beside ours alone"
    assert "a" * 64 in text and "b" * 64 in text


def test_hostile_names_stay_text() -> None:
    inputs = made_up_inputs()
    name = '<script>alert("x")</script>'
    hostile = replace(inputs, classes=[Class(each.wnid, name) for each in inputs.classes])
    page = Page(render(hostile))
    assert not page.of("script")
    assert name in page.text


@pytest.mark.parametrize(
    ("num_kernels", "shape"),
    [
        (96, (35, 191)),  # the paper's: two groups of 3 rows of 16
        (24, (11, 143)),  # width .25: 12 a group, one row
        (2, (11, 11)),  # the narrowest net that has two groups
        (34, (23, 191)),  # 17 a group: the second row has one kernel
    ],
)
def test_the_kernels_are_in_the_page(num_kernels: int, shape: tuple[int, int]) -> None:
    inputs = made_up_inputs(num_kernels=num_kernels)
    figures = [image for image in Page(render(inputs)).of("img") if image.get("class") == "kernels"]
    half = num_kernels // 2
    for figure, group in zip(figures, (inputs.kernels[:half], inputs.kernels[half:]), strict=True):
        drawn = image_of(figure["src"])
        assert drawn.shape == (*shape, 4)
        np.testing.assert_array_equal(drawn, kernel_grid(group))


def test_kernel_grid_stretches_each_kernel_and_leaves_clear_gaps() -> None:
    rng = np.random.default_rng(1)
    kernels = rng.normal(size=(17, 3, 11, 11)) * rng.uniform(0.01, 100, (17, 1, 1, 1))
    grid = kernel_grid(kernels)
    for i, kernel in enumerate(kernels):
        y, x = 12 * (i // 16), 12 * (i % 16)
        tile = grid[y : y + 11, x : x + 11]
        expected = (kernel - kernel.min()) / (kernel.max() - kernel.min()) * 255
        assert np.abs(tile[:, :, :3] - expected.transpose(1, 2, 0)).max() <= 0.5 + 1e-9
        assert (tile[:, :, 3] == 255).all()
    assert (grid[:, :, 3] == 255).sum() == 17 * 11 * 11


def test_a_constant_kernel_is_drawn() -> None:
    assert (kernel_grid(np.full((2, 3, 5, 5), 0.3))[:, :5, :3] == 0).all()


def test_the_papers_figures_stand_only_beside_its_classes() -> None:
    rows = [
        f"{100 * row['top1']:.1f}\u00a0%, {100 * row['top5']:.1f}\u00a0%" for name in PROTOCOLS for row in PAPER[name]
    ]
    ilsvrc, other = (Page(render(made_up_inputs(num_classes))).text for num_classes in (1000, 12))
    assert all(row in ilsvrc for row in rows)
    assert "The paper's net" not in other


def test_the_papers_figures_are_the_papers() -> None:
    assert PAPER["ten-crop"][0] == {"where": "ILSVRC-2012 validation", "top1": 0.407, "top5": 0.182}
    assert PAPER["ten-crop"][1] == {"where": "ILSVRC-2010 test", "top1": 0.375, "top5": 0.170}
    assert PAPER["ensemble"] == [{"where": "ILSVRC-2012 validation, five nets", "top1": 0.381, "top5": 0.164}]
    assert PAPER["centre"] == [{"where": "ILSVRC-2010 test", "top1": 0.390, "top5": 0.183}]


def test_one_protocol_alone_and_no_metrics_and_no_images() -> None:
    inputs = made_up_inputs()
    summary = {**inputs.summary, "protocols": {"centre": inputs.summary["protocols"]["centre"]}}
    page = Page(render(replace(inputs, summary=summary, metrics=[], images={})))
    assert len(page.of("svg")) == 1, "of the charts the reliability diagram alone"
    assert "Ten crops" not in page.text


@pytest.mark.parametrize(("num_rows", "expected"), [(1, (1, 0)), (2, (1, 1)), (7, (4, 3)), (16, (8, 8)), (99, (8, 8))])
def test_best_and_worst_never_show_a_class_twice(num_rows: int, expected: tuple[int, int]) -> None:
    rows = [{"number": i} for i in range(num_rows)]
    best, worst = best_and_worst(rows)
    assert (len(best), len(worst)) == expected
    assert best == rows[: len(best)]
    assert worst == rows[num_rows - len(worst) :]


def test_a_resumed_run_draws_the_curves_of_an_undisturbed_one() -> None:
    records = made_up_metrics()
    stale = [{**record, "loss": 99.0} for record in records if record["step"] in (20, 21)]
    assert training_curves([*stale, *records], 0.9) == training_curves(records, 0.9)


def test_smoothed_is_the_mean_of_the_neighbours() -> None:
    values = np.random.default_rng(2).normal(size=200)
    expected = [values[max(0, i - 2) : i + 3].mean() for i in range(200)]
    np.testing.assert_allclose(smoothed(values), expected, atol=1e-12)
    np.testing.assert_allclose(smoothed(values[:50]), values[:50], atol=1e-12)  # a short run is shown as it is


def test_metrics_a_line_being_written_does_not_count_but_a_bad_one_does(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2"):
        read_metrics(path)


@pytest.fixture(scope="module")
def browser() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    return path


def browse(browser: str, profile: Path, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Opens a page without a screen, in a profile of its own and with nothing to report home."""
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", *quiet, f"--user-data-dir={profile}"]
    return subprocess.run(
        [*command, "--enable-logging=stderr", *options, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def test_chromium_draws_the_page_without_complaint(browser: str, tmp_path: Path) -> None:
    inputs = made_up_inputs()
    path = tmp_path / "report.html"
    path.write_text(render(inputs))
    picture = tmp_path / "report.png"

    opened = browse(browser, tmp_path / "profile", path, "--dump-dom")
    page = Page(opened.stdout)
    assert len([image for image in page.of("img") if image.get("class") == "kernels"]) == 2
    assert len(page.of("svg")) == 3
    assert f"{100 * errors(inputs.predictions, 'ten-crop', 1).error:.1f}\u00a0%" in page.text
    # The page's own policy forbids all that is not in it: anything that it tried to fetch would be complained of.
    assert "CONSOLE" not in opened.stderr

    browse(
        browser, tmp_path / "profile", path, f"--screenshot={picture}", "--window-size=1000,2400", "--hide-scrollbars"
    )
    drawn = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3)
    assert len(np.unique(drawn, axis=0)) > 2000, "an empty page has few colours, one with photographs has many"

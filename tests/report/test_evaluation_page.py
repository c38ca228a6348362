"""The page: what it shows is what it was given, it stands alone, and a real browser draws it without complaint."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imagefeed.jobs.report.evaluation_page import (
    ReportInputs,
    best_and_worst,
    classes_by_error,
    queries_of,
    render,
    shown_ids,
)
from imagefeed.jobs.report.html import TEMPLATES, digest_source, in_element, number
from imagefeed.jobs.report.paper import PAPER
from imagefeed.jobs.report.pictures import kernel_grid, thumbnail
from imagefeed.jobs.report.schema import ClassCounts, Input, Mistakes, PairTest
from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.kernel.recipes import values_of
from tests.support.made_up import NUM_SAMPLES, PROTOCOLS, made_up_inputs
from tests.support.pages import DARK, LIGHT, Page, browse, image_of, seen

CSS = (TEMPLATES / "page.css").read_text()


@cache
def made_up_page() -> str:
    return render(made_up_inputs())


def changed(inputs: ReportInputs, **fields: Any) -> ReportInputs:
    """The inputs with other values in their report."""
    return replace(inputs, report=replace(inputs.report, **fields))


def test_the_page_shows_the_numbers_it_was_given() -> None:
    words, report = Page(made_up_page()).words, made_up_inputs().report
    for protocol in report.protocols.values():
        for rate in (protocol.top1, protocol.top5):
            low, high = (f"{100 * bound:.1f} %" for bound in (rate.low, rate.high))
            assert f"{100 * rate.error:.1f} % {low} to {high} {rate.wrong} of {NUM_SAMPLES}" in words
    assert "1 234 567 parameters" in words
    for text in ("c" * 64, "d" * 64, "e" * 64, "f" * 64, report.command, "recipe=alexnet, seed=7", "torch 0.0"):
        assert text in words


def test_the_page_says_what_the_net_was_fed() -> None:
    assert (
        "Crops are of 224 \u00d7 224 pixels, less the training split's mean image at the crop's own place."
        in Page(made_up_page()).words
    )
    other = Input(crop_size=227, **values_of("resnet"))
    assert (
        "Crops are of 227 \u00d7 227 pixels, less the training split's mean of each channel, divided by the standard "
        "deviation of each channel." in Page(render(changed(made_up_inputs(), input=other))).words
    )


def test_the_page_shows_what_it_was_taught_and_judged_on() -> None:
    words = Page(made_up_page()).words
    assert "images 9 876 120" in words
    assert "images a class 10 10" in words
    assert "stored pixels 256 \u00d7 256 256 \u00d7 256" in words
    assert "mean 124.1 117.2 103.3" in words
    assert "component 2, deviation 17.3 -0.712 -0.001 0.702" in words, "a column, as manifest.json has them"
    assert "shards, together 1 MB 1 MB" in words
    assert "an image, mean 91.1 bytes 7.5 kB" in words
    assert "All images take 99 bytes." in words, "a property that is the same for all has no chart"


def test_the_page_shows_calibration_and_the_most_confused_pairs() -> None:
    words, answer = Page(made_up_page()).words, made_up_inputs().report.protocols["ten-crop"]
    ece, bins = answer.calibration.ece, answer.calibration.bins
    assert f"is {100 * ece:.1f} % (ECE; bins that hold samples: {len(bins)})" in words
    pairs = [
        f"made-up class {pair.label} → made-up class {pair.predicted} {pair.total}" for pair in answer.confusions[:10]
    ]
    assert " ".join(pairs) in words


def test_bars_and_scales_are_as_long_as_their_numbers() -> None:
    page, report = Page(made_up_page()), made_up_inputs().report
    answer, chance = report.protocols["ten-crop"], report.chance
    words = [f"made-up class {label}" for label in range(report.num_classes)]
    ends, pairs = best_and_worst(classes_by_error(answer.per_class, words)), answer.confusions[:10]
    for title, rows in zip(("Least error", "Most error"), ends, strict=True):
        listed = (f"{row.words} {100 * row.error:.0f} % {row.wrong} of {row.total}" for row in rows)
        assert f"{title} {' '.join(listed)}" in page.words
    shares = [row.error for rows in ends for row in rows] + [pair.total / pairs[0].total for pair in pairs]
    shares += [top.probability for row in report.examples for top in row.top]
    assert page.styles("bar") == [f"width:{100 * share:.2f}%" for share in shares]

    rates = [(answer.top1, chance.top1.error), (answer.top5, chance.top5.error)]
    spans = [(100 * rate.low, 100 * (rate.high - rate.low)) for rate, _ in rates]
    assert page.styles("interval") == [f"left:{low:.2f}%;width:{width:.2f}%" for low, width in spans]
    assert page.styles("dot") == [f"left:{100 * rate.error:.2f}%" for rate, _ in rates]
    assert page.styles("tick") == [f"left:{100 * guess:.2f}%" for _, guess in rates]
    for rate, guess in rates:
        error, low, high, by_chance = (f"{100 * share:.1f} %" for share in (rate.error, rate.low, rate.high, guess))
        assert f"with 95 % confidence {low} to {high}. Chance: {by_chance}; right" in page.words
        said = (
            str(each["aria-label"]).replace("\u00a0", " ") for each in page.of("div") if each.get("class") == "scale"
        )
        assert any(f": {error}, 95 % interval {low} to {high}, chance {by_chance}" in each for each in said)


def test_each_image_stands_with_its_likeliest_classes() -> None:
    inputs, page = made_up_inputs(), Page(made_up_page())
    rows = inputs.report.examples
    for row in rows:
        (image,) = (
            each
            for each in page.of("img")
            if image_of(each["src"]).shape == (224, 224, 3) and each["alt"] == f"{row.key}: made-up class {row.label}"
        )
        assert np.abs(image_of(image["src"]).mean((0, 1)) - inputs.images[row.id].mean((0, 1))).max() < 3
        bars = [f"made-up class {top.label} {100 * top.probability:.0f} %" for top in row.top]
        assert " ".join(bars) in page.words
    true = [top for row in rows for top in row.top if top.label == row.label]
    assert len([each for each in page.of("li") if each.get("class") == "true"]) == len(true) > 0


def test_the_worst_mistakes_stand_with_their_images() -> None:
    inputs, page = made_up_inputs(), Page(made_up_page())
    small = {
        each["alt"]: image_of(each["src"]) for each in page.of("img") if image_of(each["src"]).shape == (128, 128, 3)
    }
    assert shown_ids(inputs.report) == sorted(inputs.images)
    mistakes = inputs.report.protocols["ten-crop"].mistakes
    for rows in (mistakes.surest, mistakes.hardest):
        for row in rows[:8]:
            drawn = small[f"{row.key}: made-up class {row.label}"].astype(float)
            assert np.abs(drawn - thumbnail(inputs.images[row.id])).mean() < 25, "another image, or none"
            assert (
                f"made-up class {row.predicted} {100 * row.probability:.0f} % made-up class {row.label} "
                f"{100 * row.true_probability:.2g} %" in page.words
            )


def test_each_query_stands_with_its_nearest_images() -> None:
    inputs, page = made_up_inputs(), Page(made_up_page())
    small = {each["alt"]: image_of(each["src"]) for each in page.of("img")}
    queries = queries_of(inputs.report)
    for query in queries:
        for row in query.nearest:
            drawn = small[f"{row.key}: made-up class {row.label}"].astype(float)
            assert np.abs(drawn - thumbnail(inputs.train_images[row.id])).mean() < 25, "another image, or none"
        words = [f"made-up class {row.label} {row.distance:#.3g}" for row in query.nearest]
        assert f"made-up class {query.label} {' '.join(words)}" in page.words
    rows = [(row.label, query.label) for query in queries for row in query.nearest]
    same = [each for each in page.of("figure") if each.get("class") == "same"]
    assert len(same) == len([one for one, other in rows if one == other]) > 0


def test_classes_come_by_their_error() -> None:
    counts = ClassCounts(total=(4, 0, 3, 5), wrong_top1=(3, 0, 0, 5), wrong_top5=(0, 0, 0, 1))
    found = classes_by_error(counts, ["a", "b", "c", "d"])
    assert [(row.words, row.wrong, row.total, row.error) for row in found] == [
        ("c", 0, 3, 0.0),
        ("a", 3, 4, 0.75),
        ("d", 5, 5, 1.0),
    ]


def test_numbers_of_a_column_have_as_many_digits() -> None:
    assert [number(value, 3) for value in (1.7, 0.0312345, 10, 100.04, 0)] == ["1.70", "0.0312", "10.0", "100", "0.00"]


def test_the_same_inputs_give_the_same_characters() -> None:
    assert render(made_up_inputs()) == made_up_page()


def test_the_page_stands_alone_and_every_picture_has_words() -> None:
    page = Page(made_up_page())
    assert not page.of("link") + page.of("iframe")
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name) or "#"
            assert target.startswith(("data:image/", "#")), (tag, target[:80])
        assert "http" not in (attributes.get("style") or "")
    assert all(image["alt"] for image in page.of("img"))
    assert all(figure.get("aria-label") for figure in page.of("figure") if figure.get("role") == "img")


def test_scripts_run_by_their_digests_alone() -> None:
    page = Page(made_up_page())
    (policy,) = (meta["content"] for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    run = [script for script, tag in zip(page.scripts, page.of("script"), strict=True) if not tag.get("type")]
    allowed = re.search(r"script-src ([^;]*)", policy or "")
    assert allowed and allowed[1].split() == [digest_source(script) for script in run]
    assert len(run) == 2 and "unsafe" not in allowed[1]
    with pytest.raises(ValueError, match="</SCRIPT"):
        in_element("'</SCRIPT>'")


def test_hostile_names_stay_text() -> None:
    name = '</script><script>alert("x")</script><!--'
    inputs = made_up_inputs()
    page = Page(render(changed(inputs, classes=tuple(Class(each.wnid, name) for each in inputs.report.classes))))
    assert len(page.of("script")) == len(Page(made_up_page()).of("script"))
    assert name in page.text
    specs = [json.loads(text) for text, tag in zip(page.scripts, page.of("script"), strict=True) if tag.get("type")]
    assert any(row.get("words") == name for spec in specs for row in spec["data"]["values"])


def test_ids_are_unique_and_all_references_lead_somewhere() -> None:
    page = made_up_page()
    ids = [attributes["id"] for _, attributes in Page(page).tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    referred = [
        target[1:] for _, attributes in Page(page).tags if (target := attributes.get("href") or "").startswith("#")
    ]
    clips = [match for _, attributes in Page(page).tags for match in re.findall(r"url\(#([^)]+)\)", str(attributes))]
    assert referred
    assert set(referred) | set(clips) <= set(ids)


def test_of_several_nets_the_page_shows_each_their_ensemble_and_who_is_better() -> None:
    inputs = made_up_inputs(1000)
    answer = inputs.report.protocols
    members = {
        f"net{net}-{name}": replace(each, net=net, top1=replace(each.top1, error=net / 10))
        for net in (1, 2)
        for name, each in answer.items()
    }
    compared = PairTest(first="net1-ten-crop", second="net2-ten-crop", only_first=11, only_second=4, p=0.118)
    several = changed(
        inputs,
        protocols=answer | members,
        checkpoints=tuple(replace(inputs.report.checkpoints[0], sha256=digest * 64) for digest in "ab"),
        comparisons=(compared,),
    )
    words = Page(render(several)).words
    assert (
        "Ten crops, ensemble" in words and "Ten crops, net 1 10.0 %" in words and "Centre crop, net 2 20.0 %" in words
    )
    assert "Ten crops, net 1 and net 2 11 4 0.12" in words
    assert words.count("38.1 %, 16.4 % five nets, ILSVRC-2012 validation") == 1, "beside our ensemble alone"
    assert words.count("one net, ILSVRC-2012 validation") == 2, "beside the ten crops of each net"
    assert "a" * 64 in words and "b" * 64 in words


def test_the_papers_figures_stand_only_beside_its_classes() -> None:
    rows = [f"{100 * row['top1']:.1f} %, {100 * row['top5']:.1f} %" for name in PROTOCOLS for row in PAPER[name]]
    ilsvrc, other = Page(render(made_up_inputs(1000))).words, Page(made_up_page()).words
    assert all(row in ilsvrc for row in rows)
    assert "The paper: top-1" in ilsvrc and "The paper: top-1" not in other


def test_the_papers_figures_are_the_papers() -> None:
    figures = [(row["nets"], row["where"], row["top1"], row["top5"]) for rows in PAPER.values() for row in rows]
    assert figures == [
        ("one net", "ILSVRC-2010 test", 0.390, 0.183),
        ("one net", "ILSVRC-2012 validation", 0.407, 0.182),
        ("one net", "ILSVRC-2010 test", 0.375, 0.170),
        ("five nets", "ILSVRC-2012 validation", 0.381, 0.164),
    ]


def test_one_protocol_alone_no_curves_no_mistakes_no_statistics() -> None:
    inputs = made_up_inputs()
    centre = replace(inputs.report.protocols["centre"], confusions=(), mistakes=Mistakes(surest=(), hardest=()))
    bare = changed(
        inputs,
        protocols={"centre": centre},
        training={},
        neighbours=None,
        data=replace(inputs.report.data, pixels=None),
    )
    page = Page(render(replace(bare, mean_image=None)))
    assert "Ten crops" not in page.text
    assert [each["data-chart"] for each in page.of("figure") if each.get("data-chart")] == [
        "images-a-class",
        "bytes-an-image",
        "classes-by-error",
        "reliability",
        "by-brightness",
    ]
    targets = {each["href"] for each in page.of("a")}
    assert not targets & {"#curves", "#mistakes", "#neighbours", "#comparisons"}


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


@pytest.mark.parametrize(("num_rows", "expected"), [(1, (1, 0)), (2, (1, 1)), (7, (4, 3)), (16, (8, 8)), (99, (8, 8))])
def test_best_and_worst_never_show_a_class_twice(num_rows: int, expected: tuple[int, int]) -> None:
    rows = [{"number": i} for i in range(num_rows)]
    best, worst = best_and_worst(rows)
    assert (len(best), len(worst)) == expected
    assert best == rows[: len(best)]
    assert worst == rows[num_rows - len(worst) :]


def test_each_colour_of_text_can_be_read_on_each_ground() -> None:
    """WCAG 2's contrast, 4.5 to 1, which small text needs."""
    schemes = [dict(re.findall(r"--(\w+): #(\w{6})", block)) for block in CSS.split(":root {")[1:]]
    assert len(schemes) == 2, "light and dark"
    for colours in schemes:
        light = {name: luminance(value) for name, value in colours.items()}
        for text in ("ink", "soft", "first", "second", "right"):
            for ground in ("page", "card"):
                dark, bright = sorted((light[text], light[ground]))
                assert (bright + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


def luminance(colour: str) -> float:
    """The relative luminance of an sRGB colour, six hexadecimal digits."""
    levels = np.array(list(bytes.fromhex(colour))) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_chromium_draws_the_page_without_complaint_wide_and_narrow_light_and_dark(tmp_path: Path) -> None:
    charts = [each["data-chart"] for each in Page(made_up_page()).of("figure") if each.get("data-chart")]
    grounds, inks = set(), set()
    for scheme in (LIGHT, DARK):
        for found in seen(tmp_path, made_up_page(), widths=(390, 1000), options=scheme):
            assert found["needed"] <= found["width"], "wider than the window: it would scroll sideways"
            assert found["dark"] == (scheme == DARK)
            assert found["charts"] == charts and found["cut"] == []
            assert all(number > 3 for number in found["marks"]) and set(found["plots"]) == {1}
            assert all(found["images"]) and found["dead"] == 0
            assert re.fullmatch(r"loss\t(training|validation)\nepoch\t\d\.\d\nnats\t\d\.\d{3}", found["told"])
            grounds.add(found["background"])
            inks.add(found["ink"])
    assert len(grounds) == len(inks) == 2, "a scheme each for the page and for its charts"


def test_the_page_without_scripts_and_on_paper_still_has_its_charts(tmp_path: Path) -> None:
    path, picture = tmp_path / "report.html", tmp_path / "report.png"
    path.write_text(re.sub(r"<script>.*?</script>", "", made_up_page(), flags=re.DOTALL))
    assert len(Page(path.read_text()).of("svg")) == 10
    browse(tmp_path, path, f"--screenshot={picture}", "--window-size=1000,2400", "--hide-scrollbars")
    drawn = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3)
    assert len(np.unique(drawn, axis=0)) > 2000, "an empty page has few colours, one with photographs has many"

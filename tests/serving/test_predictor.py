"""`imagefeed predict`: what it says of an image file is what an evaluation says of the same image in a split."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagefeed.jobs.cli.app import app
from imagefeed.jobs.cli.predict import Answer, PredictOptions, images_of, main, show
from imagefeed.jobs.evaluation.predictions import column, joined
from imagefeed.jobs.evaluation.scorer import Scorer, ScorerOptions
from imagefeed.jobs.report.schema import Protocol
from imagefeed.jobs.runs.checkpoints import in_run, newest_run
from imagefeed.jobs.serving.predictor import Guess, Predictor, open_predictor, training_data
from imagefeed.model.checkpoint import load_checkpoint
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.image.pillow import BadImage
from imagefeed.pipeline.loader.dataset import open_dataset
from imagefeed.pipeline.runtime.command import CLI
from tests.conftest import encoded, picture


def evaluated(paths: list[Path], data: Path, protocols: tuple[Protocol, ...]) -> list[dict[str, Any]]:
    """The rows of predictions.parquet, from the same actor's work in this process."""
    checkpoints = [load_checkpoint(path) for path in paths]
    val = open_dataset(data / "val")
    options = ScorerOptions(
        split=val.path,
        recipe="alexnet",
        crop_size=224,
        protocols=protocols,
        batch_size=4,
        num_slices=1,
        threads=1,
        device="cpu",
    )
    scorer = Scorer(options, [each["model_config"] for each in checkpoints], [each["model"] for each in checkpoints])
    return joined([scorer.score(0)], val.samples).to_pylist()


@pytest.mark.parametrize("protocol", ["centre", "ten-crop"])
def test_an_image_file_is_judged_as_the_evaluation_judges_it(
    protocol: Protocol, two_checkpoints: list[Path], shards: Path, images: Path
) -> None:
    predictor = open_predictor(two_checkpoints, data=shards / "tar", protocol=protocol)
    rows = evaluated(two_checkpoints, shards / "tar", (protocol,))
    assert len(rows) == 9
    for row in rows:
        (file,) = (images / "val").glob(f"{row['key']}.*")  # the source, JPEG or PNG, of any size
        (guesses,) = predictor.predict([predictor.prepare(file.read_bytes())])
        labels = [[each.wnid for each in predictor.classes].index(guess.wnid) for guess in guesses]
        assert labels == row[column(protocol, "top_classes")]
        found, expected = ([guess.probability for guess in guesses], row[column(protocol, "top_probabilities")])
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_an_image_comes_out_the_same_whatever_is_judged_with_it(checkpoint: Path, shards: Path, images: Path) -> None:
    predictor = open_predictor([checkpoint], data=shards / "tar", protocol="centre")
    prepared = [predictor.prepare(path.read_bytes()) for path in sorted((images / "val").rglob("*.*"))]
    pictures = [image.pixels.copy() for image in prepared]
    predictor.prepare(encoded(picture(99, 300, 300)))  # overwrites nothing
    assert all(np.array_equal(*pair) for pair in zip(pictures, [image.pixels for image in prepared], strict=True))
    together = predictor.predict(prepared)
    for image, guesses in zip(prepared, together, strict=True):
        (alone,) = predictor.predict([image])
        assert [guess.wnid for guess in alone] == [guess.wnid for guess in guesses]
        np.testing.assert_allclose([g.probability for g in alone], [g.probability for g in guesses], rtol=1e-5)


def of_training_images(
    shapes: list[tuple[int, int]], options: ConvertOptions, checkpoint: Path, folder: Path
) -> Predictor:
    """A predictor whose training images were of these heights and widths."""
    for number, shape in enumerate(shapes):
        path = folder / "in" / "train" / "abc"[number] / "0.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(encoded(picture(number, *shape)))
    convert(folder / "in", folder / "out", options)
    return Predictor([load_checkpoint(checkpoint)], open_dataset(folder / "out" / "train"), "centre", "cpu")


def test_an_image_that_the_mean_image_does_not_cover_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    as_found = ConvertOptions(resize="none", statistics=True)
    predictor = of_training_images([(240, 240)] * 3, as_found, checkpoint, tmp_path)
    predictor.prepare(encoded(picture(5, 240, 240)))
    with pytest.raises(BadImage, match="it has 300x400 pixels, and the nets know images of 240x240 alone"):
        predictor.prepare(encoded(picture(5, 300, 400)))


def test_an_image_smaller_than_the_crop_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    reduced = ConvertOptions(resize="short:240")
    predictor = of_training_images([(240, 300), (500, 480), (240, 240)], reduced, checkpoint, tmp_path)
    assert predictor.prepare(encoded(picture(5, 600, 300))).pixels.shape == (480, 240, 3)
    with pytest.raises(BadImage, match="its 100x300 pixels are fewer than the crops"):
        predictor.prepare(encoded(picture(5, 100, 300)))


def test_the_command_answers_image_by_image_and_names_what_it_could_not_use(
    checkpoint: Path, shards: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = images / "train" / "bee"  # 004.jpg is cut short
    options = ["--checkpoint", str(checkpoint), "--data", str(shards / "tar"), "--json"]
    with pytest.raises(ValueError, match="^1 of 9 images could not be used$"):
        app.cli(args=["predict", str(folder), *options], config=CLI)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["image"] for line in lines] == [str(path) for path in sorted(folder.iterdir())]
    for line in lines:
        assert line["protocol"] == "ten-crop"
        if line["image"].endswith("004.jpg"):
            assert "truncated" in line["error"] and "top" not in line
        else:
            assert {guess["wnid"] for guess in line["top"]} == {"ant", "bee", "cat"}
            assert sum(guess["probability"] for guess in line["top"]) == pytest.approx(1)


def test_help_names_it_and_no_other_subcommand_waits_for_torch() -> None:
    script = """
import sys
from imagefeed.jobs.cli.main import main
sys.argv[1:] = ["--help"]
try:
    main()
finally:
    assert "imagefeed.jobs.cli.predict" in sys.modules and "torch" not in sys.modules
"""
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    assert "predict" in shown.stdout and "convert" in shown.stdout


def test_the_table_shows_each_image_and_lets_no_name_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        [
            Answer(Path("a.jpg"), [Guess("n1", "tench, [bold]Tinca", 0.75), Guess("n2", "", 0.25)]),
            Answer(Path("evil\x1b[31m\udc80.jpg"), error="no image"),
        ]
    )
    table = capsys.readouterr().out
    assert re.search(r"a\.jpg .* 75\.0% .* tench, \[bold\]Tinca", table)
    assert re.search(r"25\.0% .* n2", table)
    assert "evil\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}.jpg" in table and "\x1b" not in table


def test_the_rows_of_csv_are_the_objects_of_json(
    checkpoint: Path, shards: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With whole names, whatever they are, and as many classes as were asked for."""
    long = tmp_path / ("a name, of more than forty characters, with commas" + '"quoted"\udcff.jpg')
    long.write_bytes((images / "val" / "ant" / "000.jpg").read_bytes())
    (tmp_path / "no.jpg").write_bytes(b"nothing")
    asked: Any = {"images": (long, tmp_path / "no.jpg"), "checkpoint": (checkpoint,), "data": shards / "tar"}
    said = {}
    for top in (1, 3):
        for kind in ("json", "csv"):
            with pytest.raises(ValueError, match="1 of 2 images could not be used"):
                main(PredictOptions(**asked, top=top, protocol="centre", json=kind == "json", csv=kind == "csv"))
            said[kind, top] = capsys.readouterr().out
        good, bad = map(json.loads, said["json", top].splitlines())
        header, *rows, last = csv.reader(said["csv", top].splitlines())
        assert header == ["image", "rank", "probability", "wnid", "words", "error"]
        assert len(rows) == len(good["top"]) == top
        for rank, (row, guess) in enumerate(zip(rows, good["top"], strict=True), 1):
            name = str(long).replace("\udcff", "\\xff")
            assert row == [name, str(rank), str(guess["probability"]), guess["wnid"], guess["words"], ""]
        assert last == [str(tmp_path / "no.jpg"), "", "", "", "", bad["error"]]
    refused: list[dict[str, Any]] = [{"top": 0}, {"top": 6}, {"csv": True, "json": True}, {"csv": True, "serve": True}]
    for wrong in refused:
        with pytest.raises(ValueError, match="choose|leave out"):
            PredictOptions(**wrong)


def test_folders_stand_for_the_images_below_them(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/1.png", "b/deep/er/3.webp", "b/notes.txt", "a.weird"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = images_of([tmp_path / "a.weird", tmp_path / "b"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.weird", "b/1.png", "b/2.JPG", "b/deep/er/3.webp"]
    with pytest.raises(FileNotFoundError, match="nothing"):
        images_of([tmp_path / "b", tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no images"):
        images_of([tmp_path / "empty"])
    with pytest.raises(ValueError, match="name the images"):
        images_of([])


def test_without_a_checkpoint_the_newest_run_answers_by_its_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="--checkpoint"):
        newest_run()
    for age, name in enumerate(("demo/run", "run", "other/run")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "checkpoint-last.pt").touch()
        os.utime(tmp_path / name / "checkpoint-last.pt", (1e9 - age, 1e9 - age))
    run = newest_run()
    assert run == tmp_path / "demo" / "run"
    assert in_run(run) == run / "checkpoint-last.pt"
    (run / "checkpoint-best.pt").touch()
    assert in_run(run) == run / "checkpoint-best.pt"
    assert in_run(run / "checkpoint-last.pt") == run / "checkpoint-last.pt"


def test_the_data_are_found_where_the_run_had_them(
    checkpoint: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEFEED_HOME", str(tmp_path / "home"))
    content: Any = load_checkpoint(checkpoint)
    moved: Any = {**content, "train_config": {"data": str(shards / "tar")}}
    assert training_data(checkpoint, moved) == shards / "tar"
    gone: Any = {**content, "train_config": {"data": str(tmp_path / "gone")}}
    with pytest.raises(FileNotFoundError, match=r"give --data.*mean_image\.npy"):
        training_data(checkpoint, gone)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "shards").symlink_to(shards / "tar")  # the demo's run lies beside its shards
    assert training_data(tmp_path / "demo" / "run" / "checkpoint-last.pt", content) == tmp_path / "demo" / "shards"


def test_the_tables_of_the_training_data_are_enough(
    checkpoint: Path, shards: Path, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "train").mkdir()
    for name in ("manifest.json", "samples.parquet", "mean_image.npy"):
        (tmp_path / "train" / name).symlink_to(shards / "tar" / "train" / name)
    predictor = open_predictor([checkpoint], data=tmp_path, protocol="centre")
    assert predictor.predict([predictor.prepare((images / "val" / "ant" / "000.jpg").read_bytes())])


def test_what_does_not_fit_is_refused(checkpoint: Path, images: Path, tmp_path: Path) -> None:
    convert(images, tmp_path, ConvertOptions(limit=9))
    with pytest.raises(ValueError, match="--other-data"):
        open_predictor([checkpoint], data=tmp_path, protocol="centre")
    open_predictor([checkpoint], data=tmp_path, protocol="centre", other_data=True)
    with pytest.raises(FileNotFoundError, match="no such file"):
        main(PredictOptions(images=(images / "nowhere.jpg",)))

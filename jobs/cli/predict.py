"""Say what is in images: the likeliest classes by a trained net, as an evaluation would judge them.

    imagefeed predict cat.jpg holiday/ --checkpoint /runs/a      # images and folders of images; a table
    imagefeed predict cat.jpg --top 1 --csv                      # the same in rows, with whole names
    imagefeed predict cat.jpg --json                             # an object a line; the newest run of this machine
    imagefeed predict --serve                                    # a page to drop an image on, for this machine alone

docs/predict.md says what the nets are shown.
"""

import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import tyro

from imagefeed.jobs.cli.app import app
from imagefeed.pipeline.runtime.parts import part
from imagefeed.pipeline.sources.image_table import SUFFIXES

if TYPE_CHECKING:  # torch takes seconds, which the other subcommands need not wait for
    from imagefeed.jobs.serving.predictor import Guess, Predictor

MOST_TOP = 5  # classes that an evaluation keeps of each image
COLUMNS = ("image", "rank", "probability", "wnid", "words", "error")  # of the CSV
BATCH = 32  # images at a time, as in an evaluation


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What is asked, of which nets."""

    images: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Images, or folders with images at any depth."""
    checkpoint: tuple[Path, ...] = ()
    """Checkpoints of jobs/train.py, or folders of runs, whose best is taken; several are an ensemble. By default the
    newest run below $IMAGEFEED_HOME."""
    data: Path | None = None
    """Folder with the tables of the training data, DATA/train; shards are not needed. By default where they were."""
    protocol: Literal["ten-crop", "centre"] = "ten-crop"
    """By the mean over the paper's ten crops, or by the centre alone."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the nets run; auto: on CUDA where there is any."""
    json: bool = False
    """Print JSON, one object per line, instead of a table: image, protocol, and top or error."""
    csv: bool = False
    """Print CSV instead, a row for each image and class: image, rank, probability, wnid, words and error, whole."""
    top: int = MOST_TOP
    """How many classes of each image, 1 to 5: the likeliest ones."""
    other_data: bool = False
    """Accept a checkpoint that was trained on other shards than DATA/train, with the same classes."""
    serve: bool = False
    """Serve a local page that takes images instead, until Ctrl-C."""
    port: int = 8422
    """Of the page; 0: any that is free."""
    features: Path | None = None
    """For the page: predictions.parquet of `jobs/evaluate.py --features` by the same net; shows the nearest images."""
    split: str = "val"
    """The split below DATA that those features are of, for the pictures of the nearest."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port must be 0 to 65535, not {self.port}")
        if not 1 <= self.top <= MOST_TOP:
            raise ValueError(f"top {self.top}: choose 1 to {MOST_TOP} classes")
        if self.json and self.csv:
            raise ValueError("--json and --csv: choose one of the two")
        if self.serve and (self.images or self.json or self.csv):
            raise ValueError("--serve shows a page: leave out the images, --json and --csv")
        if self.features is not None and not self.serve:
            raise ValueError("--features is for --serve")


@dataclass(frozen=True)
class Answer:
    """What came out for one image: its likeliest classes, or why there are none."""

    image: Path
    top: "Sequence[Guess]" = ()
    error: str = ""


@app.command(name="predict")
def main(options: Annotated[PredictOptions, tyro.conf.arg(name="")] = PredictOptions()) -> None:
    """Say what is in images: the likeliest classes by a trained net, as an evaluation would judge them.

    Args:
        options: What is asked, of which nets.
    """
    if options.serve:
        serve_page(options)
        return
    paths = images_of(options.images)
    predictor = opened(options)
    answers = (replace(answer, top=answer.top[: options.top]) for answer in answers_to(predictor, paths))
    if options.json or options.csv:
        failed = 0
        write_row = csv.writer(sys.stdout, lineterminator="\n").writerow
        if options.csv:
            write_row(COLUMNS)
        for answer in answers:
            failed += bool(answer.error)
            if options.json:
                print(json.dumps(as_json(answer, options.protocol)))
            else:
                for row in as_rows(answer):
                    write_row(row)
            sys.stdout.flush()
    else:
        found = list(answers)
        failed = sum(bool(answer.error) for answer in found)
        show(found)
    if failed:
        raise ValueError(f"{failed} of {len(paths)} images could not be used")


def serve_page(options: PredictOptions) -> None:
    """The page, until Ctrl-C. Raises what `opened`, `open_neighbourhood` and `serve` raise."""
    with part("serve"):
        from imagefeed.jobs.serving.neighbourhood import open_neighbourhood
        from imagefeed.jobs.serving.server import application, serve

    predictor = opened(options)
    neighbourhood = None
    if options.features is not None:
        units = predictor.nets[0].fc8.in_features
        neighbourhood = open_neighbourhood(options.features, predictor.data / options.split, units, predictor.classes)
    try:
        serve(application(predictor, predictor.about, neighbourhood), options.port)
    except KeyboardInterrupt:
        print("ended", file=sys.stderr)


def opened(options: PredictOptions) -> "Predictor":
    """The nets, ready. Raises what `open_predictor` raises."""
    import torch

    from imagefeed.jobs.runs.checkpoints import newest_run
    from imagefeed.jobs.serving.predictor import open_predictor

    paths = list(options.checkpoint) or [newest_run()]
    if not options.checkpoint:
        print(f"by the newest run, {paths[0]}", file=sys.stderr)
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    return open_predictor(
        paths,
        data=options.data,
        protocol=options.protocol,
        device=automatic if options.device == "auto" else options.device,
        other_data=options.other_data,
    )


def images_of(paths: Sequence[Path]) -> list[Path]:
    """The files, and those below folders that are called like images, in sorted order.

    Raises `FileNotFoundError` or `ValueError` where a path is not there, a folder holds none, or nothing was asked for.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_file():
            found.append(path)
            continue
        if not path.is_dir():
            raise FileNotFoundError(f"{path}: no such file or folder")
        every = (Path(folder, name) for folder, _, names in os.walk(path, onerror=_refuse) for name in names)
        below = sorted(each for each in every if each.suffix.lower().removeprefix(".") in SUFFIXES and each.is_file())
        if not below:
            raise ValueError(f"{path} holds no images ({', '.join(SUFFIXES)})")
        found += below
    if not found:
        raise ValueError("name the images: files, or folders of them")
    return found


def _refuse(error: OSError) -> NoReturn:
    """What a folder cannot be listed for ends the command: its images would be missing."""
    raise error


def answers_to(predictor: "Predictor", paths: Sequence[Path]) -> Iterator[Answer]:
    """An answer an image, in their order; an image that cannot be used does not stop the others."""
    from imagefeed.pipeline.image.pillow import BadImage

    remaining = iter(paths)
    while batch := list(islice(remaining, BATCH)):
        prepared, errors = {}, {}
        for path in batch:
            try:
                prepared[path] = predictor.prepare(path.read_bytes())
            except (BadImage, OSError) as error:
                errors[path] = str(error)
        tops = predictor.predict(list(prepared.values())) if prepared else []
        found = dict(zip(prepared, tops, strict=True))
        for path in batch:
            yield Answer(path, found.get(path, ()), errors.get(path, ""))


def as_json(answer: Answer, protocol: str) -> dict[str, Any]:
    """One line of the output, as JSON holds it."""
    outcome = {"error": answer.error} if answer.error else {"top": [asdict(guess) for guess in answer.top]}
    return {"image": str(answer.image), "protocol": protocol, **outcome}


def as_rows(answer: Answer) -> list[tuple[object, ...]]:
    """The rows of the output, as CSV holds them: `COLUMNS`, a class each, or one with the error."""
    name = os.fsencode(answer.image).decode("utf-8", "backslashreplace")  # which any output can take
    if answer.error:
        return [(name, "", "", "", "", answer.error)]
    return [(name, rank, guess.probability, guess.wnid, guess.words, "") for rank, guess in enumerate(answer.top, 1)]


def show(answers: Sequence[Answer]) -> None:
    """A table: the likeliest classes below each other, an image a section."""
    from rich.bar import Bar
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    table = Table("image", "", Column("probability", justify="right"), "class")
    for answer in answers:
        name = Text(shortened(printable(str(answer.image))))
        if answer.error:
            table.add_row(name, "", "", Text(printable(answer.error), style="red"), end_section=True)
        for rank, guess in enumerate(answer.top):
            table.add_row(
                name if rank == 0 else "",
                Bar(1, 0, guess.probability, width=20),
                f"{guess.probability:.1%}",
                Text(printable(guess.words or guess.wnid)),
                end_section=rank + 1 == len(answer.top),
            )
    Console().print(table)


def shortened(text: str, most: int = 40) -> str:
    """The end of a long path, which tells it from its neighbours."""
    return text if len(text) <= most else "\N{HORIZONTAL ELLIPSIS}" + text[1 - most :]


def printable(text: str) -> str:
    """The same without what would command the terminal, or what it could not encode."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)

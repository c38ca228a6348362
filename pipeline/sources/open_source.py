"""Where images come from. Each kind of input is a file here that lists it, without decoding or unpacking.

A source is a table a split: one row an image, sorted by key, with the range of bytes that holds it. Whoever has the
row can read the image, on any machine that sees the files. A kind is a function of the names of the files that are
there (`recognises`) and one that lists them (`open_source`).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.dataset.fields import check_there
from imagefeed.pipeline.files.input_folder import InputFolder, has_pattern, list_files
from imagefeed.pipeline.files.paths import real
from imagefeed.pipeline.sources import (
    arrow,
    class_folders,
    foreign_shards,
    ilsvrc2012,
    ilsvrc2012_kaggle,
    ilsvrc2012_unpacked,
    image_list,
    litdata,
    mds,
    own_dataset,
    parquet,
    tfrecord,
    zip_archive,
)
from imagefeed.pipeline.sources.found import found_there, packed_tars
from imagefeed.pipeline.sources.image_table import Source, with_fields
from imagefeed.pipeline.sources.own_folders import without_ours
from imagefeed.pipeline.sources.reading import ReadOptions
from imagefeed.pipeline.sources.whole import check_configurations, check_first_label, only_splits, with_left_out

NAMES = {
    ilsvrc2012: "the ILSVRC2012 downloads (ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar, the development kit)",
    ilsvrc2012_unpacked: "the same unpacked (train/<wnid>/, val/, the development kit)",
    ilsvrc2012_kaggle: "Kaggle's ImageNet (LOC_synset_mapping.txt, LOC_val_solution.csv, ILSVRC/)",
    own_dataset: "a dataset of imagefeed's own (train/manifest.json)",
    parquet: "Parquet with columns image and label, as Hugging Face has it",
    foreign_shards: "WebDataset tars or FFCV betons",
    image_list: "a list of paths and labels (train.txt, or any .txt, .csv, .tsv or .jsonl that is named itself)",
    class_folders: "a folder a class with images in it, or such folders under train/ and val/",
    arrow: "Hugging Face's Arrow (a folder of save_to_disk, with columns image and label)",
    mds: "MosaicML's MDS (shards .mds with their index.json)",
    litdata: "LitData (chunk-0-0.bin with their index.json)",
    tfrecord: "TFRecord files of tf.train.Example (*.tfrecord, or train-00000-of-01024)",
    zip_archive: "zip archives of class folders",
}
BESIDE = (arrow, mds, litdata, tfrecord, zip_archive)  # kinds that are meant where no other is recognised
RECORDS = (arrow, mds, litdata, tfrecord)  # kinds of which a file holds one record a sample
# Kinds that do not always tell how to be read.
WITH_OPTIONS = (*RECORDS, parquet, foreign_shards, image_list, class_folders, zip_archive)
WITH_COLUMNS = (own_dataset, *RECORDS, parquet, foreign_shards, image_list)  # whose samples may say more than a class


def open_source(
    where: str | Path, fields: Sequence[str] = (), out: str | None = None, reading: ReadOptions = ReadOptions()
) -> Source:
    """Lists the images of a source, whatever kind it is: a folder, files, or a URL of either.

    `fields` are the columns that become fields of its samples. Raises `ValueError` where it lacks one, with those that
    it has, or where a value cannot be one. `out` is a folder that is about to be written to: that it is empty does not
    make it a class.

    Raises `FileNotFoundError` or `ValueError`, which name what is wrong and what would be taken, and for a URL
    `ConnectionError` and `PermissionError`.
    """
    origin, every = list_files(str(where))
    if out is not None:
        every = without_empty(every, real(origin.root), real(out))
    files, notes = without_ours(origin, every, holds_source)
    kind = kind_of(files, str(where))
    options = (reading,) if kind in WITH_OPTIONS else ()
    if kind in WITH_COLUMNS:
        source = with_fields(kind.open_source(origin, files, fields, *options), fields)
    else:
        check_there(fields, (), f"{where}, {NAMES[kind]},", "column")
        source = kind.open_source(origin, files, *options)
    source = only_splits(source, reading.splits)
    check_files(origin, source)
    if not has_pattern(str(where)):
        check_configurations(source)
    check_first_label(source, reading)
    return with_left_out(replace(source, notes=(*notes, *source.notes)), files)


def holds_source(files: pa.Table) -> bool:
    """Whether there is something to convert, other than lists that nobody has named."""
    return any(kind.recognises(files) for kind in NAMES if kind is not image_list) or image_list.has_splits(files)


def without_empty(files: pa.Table, root: str, out: str) -> pa.Table:
    """The files of a listing of `root`, without empty folders at or below `out`."""
    if not out.startswith(f"{root}/"):
        return files
    empty = pc.and_(pc.ends_with(files["name"], "/"), pc.starts_with(files["name"], f"{out[len(root) + 1 :]}/"))
    return files.filter(pc.invert(empty))


def check_files(origin: InputFolder, source: Source) -> None:
    """Raises `FileNotFoundError` with the first image that is a dead link, a pipe or a device."""
    for table in source.splits.values():
        dead = table.filter(pc.less(table["size"], 0))
        if len(dead):
            raise FileNotFoundError(
                f"{origin.path(dead['file'][0].as_py())} is no file (a link that leads nowhere, a pipe, a device): "
                f"restore what it leads to, or remove it" + f"; {len(dead):,} are such" * (len(dead) > 1)
            )


def kind_of(files: pa.Table, where: str) -> ModuleType:
    """Which kind of source these files (`origin.FILES`) are. Raises `ValueError` where they are none, or several."""
    kinds = [kind for kind in NAMES if kind.recognises(files)]
    kinds = [kind for kind in kinds if kind not in BESIDE] or kinds
    if len(kinds) > 1:  # beside each of the others class folders are a part of it
        kinds = [kind for kind in kinds if kind is not class_folders]
    if len(kinds) == 1:
        return kinds[0]
    lines = "".join(f"\n  {NAMES[kind]}" for kind in kinds or NAMES)
    if kinds:
        raise ValueError(
            f"{where} may be meant as one of several sources; name its files, such as 'DIR/*.tar', or a folder that "
            f"holds one of them alone:{lines}"
        )
    if packed := packed_tars(files):
        raise ValueError(
            f"{where} holds tars that are compressed, such as {packed[0]}, of which no part can be read alone: "
            f"decompress them first ({found_there(files)})"
        )
    raise ValueError(f"{where} holds nothing to convert: expected one of{lines}\nfound there: {found_there(files)}")

"""How images become shards: every option of a conversion, with its default, its help and its limits."""

from dataclasses import dataclass
from typing import Literal

from imagefeed.pipeline.dataset.fields import check_names
from imagefeed.pipeline.dataset.tables import SAMPLES_SCHEMA
from imagefeed.pipeline.formats.containers import Format
from imagefeed.pipeline.image.resize import Resize
from imagefeed.pipeline.image.stored import HuffmanTables, Sampling, Storage
from imagefeed.pipeline.image.transcoder import codec_name
from imagefeed.pipeline.sources.class_order import ClassOrder
from imagefeed.pipeline.sources.reading import ReadOptions


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(ReadOptions):
    """How images become shards."""

    format: Literal["tar", "beton", "both"] = "tar"
    """Shards for WebDataset (tar), for FFCV (beton), or both from one pass, in OUT/tar and OUT/beton."""
    resize: str = "paper"
    """paper: the shorter side to 256 pixels, then the central 256x256. short:N or long:N: the whole image, with that
    side reduced to N pixels where it is longer. none: the image files as they are, nothing is encoded; in a beton, what
    FFCV cannot decode (PNG, CMYK) becomes raw pixels."""
    quality: int = 90
    """Quality of the stored JPEGs, 1 to 100. No effect with --raw or --resize none."""
    sampling: Sampling = "4:2:0"
    """Colour of the stored JPEGs: 4:2:0, at half the height and width as in nearly every JPEG; 4:4:4, at full size."""
    huffman: HuffmanTables = "shared"
    """Codes of the stored JPEGs: shared, a pair of tables that decodes faster, or the standard's. Pixels are the
    same."""
    raw: bool = False
    """Store raw pixels instead of JPEGs (beton only): nine times the bytes, nothing to decode."""
    statistics: bool = False
    """With --resize none: decode every image all the same, once, to take statistics and to put in quarantine what does
    not decode. Without it headers alone are read, at the speed of a copy. Whatever is resized always has statistics."""
    shard_size: int = 4096
    """Images per shard, at most; a shard of 4,096 JPEGs is about 90 MB."""
    shuffle: int | Literal["none"] = 0
    """Seed of the order in which the images are stored; none keeps the source's sorted order."""
    limit: int | None = None
    """Convert this many images of each split only, evenly spread over the source's sorted order."""
    classes: tuple[str, ...] = ()
    """Convert these classes only, by WordNet id or folder name; they are then numbered among themselves."""
    val_fraction: float | None = None
    """For a source without a split val: this share of each class of its train becomes one, such as 0.1. Which images
    is decided by a hash of their keys, the same on any machine."""
    on_error: Literal["raise", "quarantine"] = "raise"
    """An image file that the disk cannot read: raise ends with its name, and the same command goes on from there;
    quarantine puts it into quarantine with the reason, as what does not decode always is. That is for good: to have it
    tried again, remove the split."""
    order: ClassOrder = "alphabetical"
    """Order of classes that are numbered by their names: alphabetical (1, 10, 2), or natural (1, 2, 10)."""
    fields: tuple[str, ...] = ()
    """Columns of the source that become fields of the samples, such as score,tags,caption: numbers, lists of numbers
    and text, for the loader to put into its batches; see docs/conversion.md."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "fields", tuple(name for each in self.fields for name in each.split(",")))
        check_names(self.fields, SAMPLES_SCHEMA.names)
        resize = Resize.parse(self.resize)
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality {self.quality}: choose 1 to 100")
        if self.shard_size < 1:
            raise ValueError(f"shard size {self.shard_size}: choose at least 1 image")
        if self.raw and self.format != "beton":
            raise ValueError(f"raw pixels go into betons only: choose format beton, not {self.format}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit {self.limit}: choose at least 1 image")
        if self.val_fraction is not None and not 0 < self.val_fraction < 1:
            raise ValueError(f"val fraction {self.val_fraction:g}: choose a share between 0 and 1, such as 0.1")
        if resize.kind == "none" and self.raw:
            raise ValueError("resize none keeps the image files and raw stores pixels: choose one of the two")
        if resize.kind == "none" and self.format == "both":
            raise ValueError("resize none writes one format at a time: choose tar or beton, then `imagefeed repack`")
        if resize.kind != "none" and self.statistics:
            raise ValueError("statistics is for resize none: whatever is resized has them anyway")

    @property
    def decode_all(self) -> bool:
        """Whether the pixels of every image are decoded."""
        return self.statistics or self.resize != "none"

    def storage(self) -> Storage:
        """The same as the manifest states it."""
        copied = self.resize == "none"
        return Storage(
            resize=self.resize,
            size=Resize.parse(self.resize).side,
            encoding="as found" if copied else "raw" if self.raw else "jpeg",
            quality=None if copied or self.raw else self.quality,
            codec=codec_name(),
            sampling=self.sampling,
            huffman="standard" if copied or self.raw else self.huffman,
        )

    def folders(self, split: str) -> dict[Format, str]:
        """Where a split goes below OUT: `<split>`, or `<format>/<split>` where both formats are asked for."""
        if self.format == "both":
            return {"tar": f"tar/{split}", "beton": f"beton/{split}"}
        return {self.format: split}

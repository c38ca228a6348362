"""What `imagefeed bench` is asked and what it finds: plain records, so that the command line need not import torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """How to measure."""

    seconds: float = 30.0
    """About how long it takes, in seconds, without compiling."""
    batch_size: int = 128
    """Samples of a batch."""
    num_threads: int | None = None
    """Threads that decode; None: the cores that this process may use."""

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"seconds must be above 0, not {self.seconds}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {self.batch_size}")
        if self.num_threads is not None and self.num_threads < 1:
            raise ValueError(f"num_threads must be at least 1, not {self.num_threads}")


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How fast something went, and what it took."""

    images_per_second: float
    cpu_seconds: float  # an image, of all threads
    foreign: float = 0.0  # cores that other processes used meanwhile


@dataclass(frozen=True, kw_only=True)
class Output:
    """The loader with one type of output."""

    dtype: str
    layout: str
    bytes_per_image: int  # as written
    rate: Rate
    write: Rate  # the write alone: from decoded images to batches


@dataclass(frozen=True, kw_only=True)
class BenchResults:
    """What was measured. Rates are images a second unless they say bytes; parts that do not apply are 0."""

    name: str
    num_samples: int
    mean_size: float  # of a payload, bytes
    stored_bytes: int  # of all payloads
    pixel_bytes: int  # of all images, were they stored raw; 0 where sizes are unknown
    memory_bytes: int  # of this machine, that is available
    num_threads: int
    read_cold: float  # in random order, from the disk
    read_warm: float  # the same again
    decoder: str  # the loader's: "own" or "turbojpeg"
    decode: dict[int, Rate]  # by the loader's decoder, what its crops need, by number of threads; empty without JPEGs
    decode_turbo: Rate | None  # whole images by libjpeg-turbo, all threads; None without JPEGs or it
    hash: Rate
    copy_bytes: float  # a second, memory to memory, all threads
    outputs: tuple[Output, ...]
    device: str  # the GPU's name; empty where there is none
    device_bytes: float  # a second, from pinned memory to the GPU

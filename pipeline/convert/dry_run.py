"""What a conversion would write, how much and how long it would take, in words; nothing is written.

The time is that of one core, divided among the workers; it holds for a cluster only if it has such cores.
"""

from math import inf
from pathlib import Path

from imagefeed.pipeline.convert.chosen import chosen_source
from imagefeed.pipeline.convert.estimate import Estimate, estimate_split
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.convert.plan import plan_split
from imagefeed.pipeline.files.output_folder import output_folder_at


def estimate(source: str | Path, out: str | Path, options: ConvertOptions = ConvertOptions()) -> list[Estimate]:
    """What `convert` with the same arguments would do.

    As there, what was understood of the source is said on standard error first. Raises as it does where the source
    cannot be used.
    """
    target = output_folder_at(out)
    opened = chosen_source(source, target, options)
    return [each for name in opened.splits for each in estimate_split(plan_split(opened, name, target, options))]


def describe(estimates: list[Estimate], workers: int) -> str:
    """The same in words, for `workers` processes: a line a split and the sum."""
    lines = [
        f"{each.folder}: {each.num_images:,} images of {each.num_classes:,} classes in {each.num_shards:,} shards, "
        f"about {each.num_bytes / 1e6:,.1f} MB (from {each.num_tried} images)"
        for each in estimates
    ]
    for each in estimates:
        lines += [f"  {key} could not be used: {reason}" for key, reason in each.bad.items()]
    free = estimates[0].folder.free()
    space = "" if free == inf else f", where {free / 1e9:,.1f} GB are free,"
    seconds = sum(each.seconds for each in estimates) / workers
    size = sum(each.num_bytes for each in estimates)
    lines.append(
        f"about {size / 1e9:,.3f} GB{space} and {duration(seconds)} with {workers} "
        f"worker{'s' * (workers != 1)}, besides start and disk; nothing was written"
    )
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """A time as people say it."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s" if rest >= 60 else f"{rest} s"

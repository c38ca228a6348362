"""What the findings of `bench` mean: where an image's time goes, what to change, as tables and as a picture."""

from collections.abc import Iterator
from pathlib import Path

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from imagefeed.pipeline.bench.results import BenchResults, Output
from imagefeed.pipeline.runtime.parts import part

UNEXPLAINED = "not explained"
PARTS = {"hash": "#7b6ba8", "decode": "#0b5cad", "write": "#3a9a5c", UNEXPLAINED: "#c9772b", "wait": "#b9c0c8"}
DECODERS = {"own": "imagefeed's own decoder", "turbojpeg": "libjpeg-turbo"}
DOUBTFUL = 0.25  # of an image's time not explained, either way: then the parts say too little
WIDTH = 16  # of a bar, characters


def parts(findings: BenchResults, output: Output) -> dict[str, float]:
    """Where an image's time goes, in seconds of one thread: they add up to what a thread spends on an image.

    Hashing, decoding and writing are as measured alone, none of them fitted to the others. Waiting is the time in which
    no processor worked for the loader: for the disk, for memory, for a core. What is left is not explained: planning
    and the interpreter where it is above 0; where it is below 0, the parts took longer alone than in the loader.
    """
    whole = findings.num_threads / output.rate.images_per_second
    wait = max(0.0, whole - output.rate.cpu_seconds)
    decode = findings.decode[findings.num_threads].cpu_seconds if findings.decode else 0.0
    alone = {"hash": findings.hash.cpu_seconds, "decode": decode, "write": output.write.cpu_seconds}
    return {**alone, UNEXPLAINED: whole - wait - sum(alone.values()), "wait": wait}


def advice(findings: BenchResults) -> Iterator[str]:
    """What holds this machine up and what to change, the most important first, in plain words."""
    best = max(findings.outputs, key=lambda output: output.rate.images_per_second)
    fp32 = next((output for output in findings.outputs if output.dtype == "float32"), best)
    spent = parts(findings, best)
    whole = sum(spent.values())
    share = {name: seconds / whole for name, seconds in spent.items()}
    if findings.read_cold < best.rate.images_per_second:
        gigabytes, fits = findings.stored_bytes / 1e9, findings.stored_bytes < 0.8 * findings.memory_bytes
        how = (
            f"the {gigabytes:,.1f} GB fit into memory, so only the first epoch is slow"
            if fits
            else f"the {gigabytes:,.1f} GB do not fit into {findings.memory_bytes / 1e9:,.1f} GB of memory: "
            "use a faster disk or more memory" + ("" if findings.decode else ", or JPEGs instead of raw pixels")
        )
        yield (
            f"Disk-bound when cold: it gives {findings.read_cold:,.0f} images/s where the loader can use "
            f"{best.rate.images_per_second:,.0f}; {how}."
        )
    foreign = max(output.rate.foreign for output in findings.outputs)
    if foreign > 0.2:
        yield f"Other processes used up to {foreign:.1f} cores: without them all of these figures would be higher."
    elif share["wait"] > 0.15:
        yield (
            f"The threads wait for {share['wait']:.0%} of their time, for the disk or for memory: give the loader no "
            "more threads than there are cores."
        )
    if abs(share[UNEXPLAINED]) > DOUBTFUL:
        alone = whole - spent[UNEXPLAINED] - spent["wait"]
        yield (
            f"The parts alone take {1e6 * alone:,.0f} us an image and the loader {1e6 * (whole - spent['wait']):,.0f}: "
            "do not trust the parts; measure again with nothing else running."
        )
    elif share["decode"] > 0.5:
        raw = ""
        if findings.pixel_bytes:
            raw = f" of {findings.pixel_bytes / 1e9:,.1f} GB instead of {findings.stored_bytes / 1e9:,.1f} GB"
        yield (
            f"Decode-bound: {share['decode']:.0%} of a thread's time is that of {DECODERS[findings.decoder]}"
            f"{other_decoder(findings)}. More cores help in proportion, raw shards (convert --raw){raw} take it away, "
            "a lower quality makes it less."
        )
    if fp32.rate.images_per_second < 0.9 * best.rate.images_per_second:
        gain = best.rate.images_per_second / fp32.rate.images_per_second
        yield (
            f"{best.dtype} {best.layout} comes {gain:.2f} times as fast as "
            f"float32 NCHW, which writes {fp32.bytes_per_image / 1000:,.0f} kB an image: make floats on the device."
        )
    if findings.decode and findings.num_threads > 1 and foreign <= 0.2:
        speedup = findings.decode[findings.num_threads].images_per_second / findings.decode[1].images_per_second
        if speedup < 0.7 * findings.num_threads:
            yield (
                f"{findings.num_threads} threads decode {speedup:.1f} times as much as one: the cores share something "
                "(two threads of one core, heat, another process)."
            )
    if findings.device:
        narrow = findings.device_bytes / best.bytes_per_image
        if narrow < 1.5 * best.rate.images_per_second:
            yield f"The way to {findings.device} carries {narrow:,.0f} images/s as {best.dtype}: nearly the limit."
    yield (
        f"Best here: dtype={best.dtype!r}, layout={best.layout!r}, {best.rate.images_per_second:,.0f} images/s with "
        f"{findings.num_threads} threads."
    )


def other_decoder(findings: BenchResults) -> str:
    """What the decoder takes beside libjpeg-turbo, where that is another one."""
    if findings.decoder == "turbojpeg" or findings.decode_turbo is None:
        return ""
    own, turbo = findings.decode[findings.num_threads].cpu_seconds, findings.decode_turbo.cpu_seconds
    return f" ({1e6 * own:,.0f} us for a crop; libjpeg-turbo takes {1e6 * turbo:,.0f} us for the image)"


def rates(findings: BenchResults) -> Iterator[tuple[str, float, str]]:
    """Rows of the table: what, images a second, a remark."""
    size = findings.mean_size
    yield "read, cold", findings.read_cold, f"{findings.read_cold * size / 1e6:,.0f} MB/s"
    yield "read, warm", findings.read_warm, f"{findings.read_warm * size / 1e6:,.0f} MB/s"
    for threads, rate in findings.decode.items():
        what = f"decode, {findings.decoder}, {threads} thread{'s' * (threads > 1)}"
        yield what, rate.images_per_second, f"{1e6 * rate.cpu_seconds:,.0f} us each, its crop"
    if findings.decode_turbo is not None:
        what = f"turbojpeg, {findings.num_threads} thread{'s' * (findings.num_threads > 1)}"
        remark = f"{1e6 * findings.decode_turbo.cpu_seconds:,.0f} us each, whole"
        yield what, findings.decode_turbo.images_per_second, remark
    yield "hash", findings.hash.images_per_second, f"{findings.hash.images_per_second * size / 1e9:,.1f} GB/s"
    ceiling = findings.decode.get(findings.num_threads)
    for output in findings.outputs:
        of_memory = output.rate.images_per_second * output.bytes_per_image / findings.copy_bytes
        share = f"{output.rate.images_per_second / ceiling.images_per_second:.0%} of decode, " if ceiling else ""
        what = f"loader, {output.dtype} {output.layout}"
        yield what, output.rate.images_per_second, f"{share}{of_memory:.0%} of memory"
    if findings.device:
        for output in findings.outputs:
            if output.dtype != "bfloat16":
                yield f"to the GPU, {output.dtype}", findings.device_bytes / output.bytes_per_image, findings.device


def tables(findings: BenchResults) -> RenderableType:
    """All of it for a terminal."""
    rows = list(rates(findings))
    most = scale(findings)
    speeds = Table(
        box=None,
        pad_edge=False,
        title="What this machine can do (long bars are cut)",
        title_justify="left",
        title_style="bold",
    )
    for name, justify in (("", "left"), ("images/s", "right"), ("", "left"), ("", "left")):
        speeds.add_column(name, justify=justify)  # type: ignore[arg-type]
    for what, speed, remark in rows:
        colour = PARTS["decode"] if what.startswith("loader") else PARTS["wait"]
        bar = Bar(most, 0, min(speed, most), width=WIDTH, color=colour)
        speeds.add_row(what, f"{speed:,.0f}", bar, Text(remark, style="dim"))
    times = Table(
        box=None, pad_edge=False, title="Where an image's time goes", title_justify="left", title_style="bold"
    )
    for name in ("microseconds", *PARTS, ""):
        side = "left" if name in ("", "microseconds") else "right"
        times.add_column(Text(name, style=PARTS.get(name, "")), justify=side)  # type: ignore[arg-type]
    longest = max(sum(positive(parts(findings, output)).values()) for output in findings.outputs)
    for output in findings.outputs:
        spent = parts(findings, output)
        line = Text()
        for name, seconds in positive(spent).items():
            line.append("█" * round(WIDTH * seconds / longest), style=PARTS[name])
        numbers = (f"{1e6 * seconds:{'+' if name == UNEXPLAINED else ''},.0f}" for name, seconds in spent.items())
        times.add_row(f"{output.dtype} {output.layout}", *numbers, line)
    head = (
        f"{findings.name}\n{findings.num_samples:,} images of {findings.mean_size / 1000:,.1f} kB, "
        f"{findings.num_threads} threads, memory copied at {findings.copy_bytes / 1e9:,.1f} GB/s"
    )
    tips = "\n".join(f"- {tip}" for tip in advice(findings))
    return Group(head, "", speeds, "", times, "", Panel(tips, title="What to change", title_align="left"))


def positive(spent: dict[str, float]) -> dict[str, float]:
    """The parts that a bar can show."""
    return {name: seconds for name, seconds in spent.items() if seconds > 0}


def scale(findings: BenchResults) -> float:
    """Images a second of the longest bar: what is faster than decoding and loading is cut."""
    return max(
        [output.rate.images_per_second for output in findings.outputs]
        + [rate.images_per_second for rate in findings.decode.values()]
    )


def show(findings: BenchResults) -> None:
    """Prints the tables."""
    Console(highlight=False).print(tables(findings))


def plot(findings: BenchResults, path: Path) -> None:
    """Draws the same to `path`, of any type that matplotlib knows (PNG, SVG, PDF)."""
    with part("plot"):
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    speeds, times = figure.subplots(2, 1, height_ratios=[3, 2])
    rows = list(rates(findings))[::-1]
    most = scale(findings)
    for y, (what, speed, _) in enumerate(rows):
        colour = PARTS["decode"] if what.startswith("loader") else PARTS["wait"]
        speeds.barh(y, min(speed, 1.1 * most), color=colour)
        speeds.text(min(speed, 1.1 * most), y, f" {speed:,.0f}", va="center", fontsize=8)
    speeds.set_yticks(range(len(rows)), [what for what, _, _ in rows], fontsize=8)
    speeds.set_xlim(0, 1.25 * most)
    speeds.set_title("images a second (long bars are cut)", fontsize=9, loc="left")
    for y, output in enumerate(findings.outputs[::-1]):
        start = 0.0
        spent = parts(findings, output)
        for name, seconds in positive(spent).items():
            times.barh(y, 1e6 * seconds, left=start, color=PARTS[name])
            start += 1e6 * seconds
        whole = 1e6 * sum(spent.values())
        times.plot([whole, whole], [y - 0.45, y + 0.45], color="black", linewidth=1.5)
    names = [f"{output.dtype} {output.layout}" for output in findings.outputs[::-1]]
    times.set_yticks(range(len(names)), names, fontsize=8)
    times.set_title("microseconds of a thread on an image (black line: in the loader)", fontsize=9, loc="left")
    handles = [Patch(color=colour, label=name) for name, colour in PARTS.items()]
    figure.legend(handles=handles, fontsize=8, ncols=len(PARTS), frameon=False, loc="outside lower center")
    for axes in (speeds, times):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)

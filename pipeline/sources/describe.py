"""A source in words, for a user to see what was understood before any work begins."""

import numpy as np

from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.sources.class_order import natural_key
from imagefeed.pipeline.sources.image_table import BY_NAME, Source

MOST_CLASSES = 3  # that are named in the first line
MOST_LABELS = 10  # that are written out


def describe_source(source: Source) -> str:
    """Lines: kind, splits, classes, one sample; which label each class has, and why.

    More lines for what should be known: classes without an image, files that are left out.
    """
    splits = " and ".join(f"{name} {len(table):,}" for name, table in source.splits.items())
    classes = [shown(each.wnid) for each in source.classes[: MOST_CLASSES + 1]]
    named = ", ".join(classes[:MOST_CLASSES] + ["..."] * (len(classes) > MOST_CLASSES))
    sample = shown(next(iter(source.splits.values()))["key"][0].as_py())
    line = (
        f"{source.root} ({source.kind}): {splits} images of {len(source.classes):,} classes ({named}), such as {sample}"
    )
    if source.fields:
        line += f"; fields {', '.join(f'{name} ({source.fields[name].type})' for name in sorted(source.fields))}"
    lines = [line, describe_labels(source)]
    there = np.zeros(len(source.classes), bool)
    for table in source.splits.values():
        there[table["label"].to_numpy()] = True
    if not there.all():
        first = shown(source.classes[int(there.argmin())].wnid)
        lines.append(f"without an image: {len(there) - int(there.sum()):,} of the classes, such as {first}")
    lines += source.notes
    if source.left_out:
        lines.append(f"left out: {shown(source.left_out.describe())}")
    return "\n".join(lines)


def describe_labels(source: Source) -> str:
    """Which label each class has, the first ones and the last one where there are many, and by which rule."""
    line = f"labels: {spelled(source.classes)} ({source.rule}"
    if source.rule == BY_NAME:
        natural = tuple(sorted(source.classes, key=natural_key))
        if natural != source.classes:
            line += f"; with --order natural {spelled(natural)}"
    return line + ")"


def spelled(classes: tuple[Class, ...]) -> str:
    """Classes behind their labels; where they are the labels, from the first to the last."""
    if all(each.wnid == str(label) for label, each in enumerate(classes)):
        return f"0 to {len(classes) - 1}"
    each = [f"{label} {shown(classes[label].wnid)}" for label in range(len(classes))[:MOST_LABELS]]
    if len(classes) <= MOST_LABELS:
        return ", ".join(each)
    return ", ".join([*each[:MOST_CLASSES], "...", f"{len(classes) - 1} {shown(classes[-1].wnid)}"])


def shown(name: str) -> str:
    """A name in a line: what would end it, or command the terminal, is escaped."""
    return name if name.isprintable() else name.encode("unicode_escape").decode()

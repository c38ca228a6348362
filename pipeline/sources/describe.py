"""A source in words, for a user to see what was understood before any work begins."""

from imagefeed.pipeline.sources.image_table import Source

MOST_CLASSES = 3  # that are named


def describe_source(source: Source) -> str:
    """One line: kind, splits, classes, one sample; and another where files that look like images are left out."""
    splits = " and ".join(f"{name} {len(table):,}" for name, table in source.splits.items())
    classes = [each.wnid for each in source.classes]
    named = ", ".join(classes[:MOST_CLASSES] + ["..."] * (len(classes) > MOST_CLASSES))
    sample = next(iter(source.splits.values()))["key"][0]
    line = f"{source.root} ({source.kind}): {splits} images of {len(classes):,} classes ({named}), such as {sample}"
    if source.fields:
        line += f"; fields {', '.join(f'{name} ({source.fields[name].type})' for name in sorted(source.fields))}"
    if not source.left_out:
        return line
    return f"{line}\nleft out: {len(source.left_out):,} images in no class folder, such as {source.left_out[0]}"

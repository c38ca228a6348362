"""From a source to shards, and from shards to batches; useful with no AlexNet in sight."""

if __name__ == "pipeline":  # two copies of each class and kernel would live in one process
    raise ImportError("import imagefeed.pipeline: this folder is a part of the package imagefeed")

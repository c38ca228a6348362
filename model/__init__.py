"""AlexNet and its training, for use wherever torch and triton are: `from imagefeed.model.alexnet import AlexNet`.

    images [B, 3, 224, 224] -> alexnet (lrn) -> logits [B, classes] -> training (optim, schedule) -> checkpoint

It imports nothing of pipeline/ or jobs/: whatever yields images and labels can train it.
"""

if __name__ == "model":  # two copies of each class and kernel would live in one process
    raise ImportError("import imagefeed.model: this folder is a part of the package imagefeed")

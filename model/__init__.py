"""AlexNet and its training, for use wherever torch and triton are: `from model.alexnet import AlexNet`.

    images [B, 3, 224, 224] -> alexnet (lrn) -> logits [B, classes] -> training (optim, schedule) -> checkpoint

It imports nothing of pipeline/ or jobs/: whatever yields images and labels can train it.
"""

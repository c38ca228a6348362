"""The folder of a training run: what is in it and who may write there."""

"""A training run on one process or many. This room alone starts torch.distributed."""

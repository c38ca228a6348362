"""What a machine can do with a dataset."""

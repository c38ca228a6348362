"""Our augmentation and laws in other people's loaders. This room alone imports ffcv and webdataset."""

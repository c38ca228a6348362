"""What people bring, as one table of images."""

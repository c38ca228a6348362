"""The layouts of containers: tar, beton, Parquet pages. Nothing above one file."""

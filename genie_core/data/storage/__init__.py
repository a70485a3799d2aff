"""Where data lie and how files are opened: local paths and URLs, HDF5, Parquet. Knows nothing of robots."""

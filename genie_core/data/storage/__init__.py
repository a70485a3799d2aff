"""Storage: paths and URLs, HDF5, Parquet, atomic writes, locks. Knows nothing about robots."""

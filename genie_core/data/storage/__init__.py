"""Where data lie and how files are opened and written: paths and URLs, HDF5, Parquet, whole files, locks. No robots."""

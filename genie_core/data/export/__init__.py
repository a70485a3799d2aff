"""Labelled datasets as LeRobot v3.0, plain Parquet or robomimic HDF5, and back."""

"""ALOHA / ACT, and any HDF5 layout that the user describes."""

"""robomimic and LIBERO: one HDF5 file of demonstrations."""

"""Zarr, v2 and v3: the replay buffers of Diffusion Policy and UMI."""

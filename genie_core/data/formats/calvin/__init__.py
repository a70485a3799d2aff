"""CALVIN: a folder of .npz files, one a frame."""

"""Frames as files: a folder of JPEG or PNG pictures an episode."""

"""WebDataset: tar files whose samples have a video each."""

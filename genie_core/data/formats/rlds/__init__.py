"""RLDS / Open X-Embodiment: TFDS folders of TFRecord files, read without TensorFlow."""

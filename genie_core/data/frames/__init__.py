"""Frames and their timing: resizing, channel order, image and video codecs, transition length, code colours."""

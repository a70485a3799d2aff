"""Single frames and their clock: resizing, channel order, image and video codecs, transition length, code colours."""

"""What people look at: Rerun recordings, sheets of frames with their codes, and what a code means."""

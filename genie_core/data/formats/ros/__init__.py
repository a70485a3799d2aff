"""Recordings of ROS: MCAP files, and bags of ROS 1 and ROS 2."""

"""The studies of `launch.study`, one file each, and what they share."""

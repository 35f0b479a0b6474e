"""Studies of trained LCR runs, see `launch.study`."""

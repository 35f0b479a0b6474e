"""Studies of trained GenSR runs, see `launch.study`."""

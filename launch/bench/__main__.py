"""`python -m launch.bench`."""

import sys

from launch.bench import main
from launch.command import run_command

if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))

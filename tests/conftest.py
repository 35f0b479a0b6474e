"""Compiled programs are shared by all tests, their workers and the processes they start."""

import atexit
import os
import shutil
import tempfile

# Read by jax when it is imported, so here and not in a fixture. Workers inherit the folder.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    folder = tempfile.mkdtemp(prefix="snr_jax_compiled_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

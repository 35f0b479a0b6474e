"""The machine of a report: processor, devices, versions, memory."""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def describe_machine() -> str:
    """One line: processor, the cores this process may use, Python."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")  # Linux tells more than the platform module
    if info.is_file():
        named = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = named[0].partition(":")[2].strip() if named else model
    cores = os.cpu_count()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    return f"machine: {model}, {usable} of {cores} cores, Python {platform.python_version()}"


def describe_software() -> dict[str, Any]:
    """The kind of the devices, and the versions of the packages that make the speed."""
    import flax
    import jax
    import jaxlib
    import numpy as np

    device = jax.devices()[0]
    modules = (jax, jaxlib, flax, np)
    return {
        "device": {"platform": device.platform, "kind": device.device_kind},
        "versions": {module.__name__: module.__version__ for module in modules},
    }


def measure_memory() -> dict[str, Any]:
    """Highest use so far, in bytes; None where the platform does not tell."""
    import jax

    stats = jax.devices()[0].memory_stats() or {}
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "device": stats.get("peak_bytes_in_use"),
        "host": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def find_room() -> int | None:
    """Bytes of the device that are free; None where it does not tell, as a CPU."""
    import jax

    stats = jax.devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit")
    return None if limit is None else limit - stats.get("bytes_in_use", 0)


def print_software(report: Mapping[str, Any]) -> None:
    """Device, versions and, where it was measured, the peak."""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    print(f"device: {report['device']['kind']} ({report['device']['platform']}); {versions}")
    for kind, rate in report.get("peak_flop_per_second", {}).items():
        print(
            f"peak: {rate['median'] / 1e9:,.0f} GFLOP/s, {kind} matrix product, "
            f"{report['peak_width']:,} wide"
        )


def print_memory(report: Mapping[str, Any]) -> None:
    """The highest use of memory."""
    memory = report["peak_memory"]
    parts = [f"{name} {size / 1e9:.2f} GB" for name, size in memory.items() if size]
    print(f"peak memory: {', '.join(parts)}")

"""What a process uses, measured from inside or outside."""

import math
import time
from dataclasses import dataclass

import psutil

BYTES_PER_MB = 1_000_000


@dataclass(frozen=True)
class ResourceSample:
    """One measurement of one process."""

    time_sec: float
    """Steady clock."""
    cpu_seconds: float
    """User and system time since the process started."""
    resident_memory_mb: float
    peak_memory_mb: float
    unique_memory_mb: float
    """What ending the process would free; NaN where it can't be read."""
    threads: int
    open_files: int


def sample_resources(process: psutil.Process) -> ResourceSample:
    """Measure ``process`` now. Takes up to 15 ms for a process with TensorFlow in it.

    Raise psutil.NoSuchProcess when it has ended.
    """
    times = process.cpu_times()
    return ResourceSample(
        time_sec=time.monotonic(),
        cpu_seconds=times.user + times.system,
        resident_memory_mb=process.memory_info().rss / BYTES_PER_MB,
        peak_memory_mb=_peak_bytes(process.pid) / BYTES_PER_MB,
        unique_memory_mb=_unique_bytes(process) / BYTES_PER_MB,
        threads=process.num_threads(),
        open_files=process.num_fds(),
    )


def cpu_percent_between(before: ResourceSample, after: ResourceSample) -> float:
    """Return the share of one core used between two samples, in percent."""
    elapsed = after.time_sec - before.time_sec
    return 100.0 * (after.cpu_seconds - before.cpu_seconds) / elapsed if elapsed > 0 else 0.0


def _peak_bytes(pid: int) -> float:
    # psutil has no peak on Linux; the kernel keeps it in kB as VmHWM.
    try:
        with open(f'/proc/{pid}/status') as status:
            for line in status:
                if line.startswith('VmHWM:'):
                    return float(line.split()[1]) * 1024
    except OSError:
        pass
    return math.nan


def _unique_bytes(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().uss)
    except psutil.AccessDenied:
        return math.nan

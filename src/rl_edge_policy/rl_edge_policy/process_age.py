"""How long ago this process was started, interpreter start and imports included."""

import os
import time

import psutil


def process_age_sec() -> float:
    """Return seconds since the process was started.

    On Linux to 10 ms, from the kernel's start time: psutil's ``create_time`` adds the boot time,
    which the kernel gives in whole seconds.
    """
    try:
        with open('/proc/self/stat') as stat:
            # The second field, the name in brackets, may hold spaces; field 22 is the start.
            fields = stat.read().rpartition(')')[2].split()
        started = int(fields[19]) / os.sysconf('SC_CLK_TCK')
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError, IndexError, ValueError):
        return time.time() - psutil.Process().create_time()

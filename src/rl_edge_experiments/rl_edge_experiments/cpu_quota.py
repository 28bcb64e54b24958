"""Hold a process to a share of one core, by the kernel's CPU bandwidth control (cgroup v1, v2).

https://docs.kernel.org/scheduler/sched-bwc.html: of each period a group may compute for its quota,
then it is throttled until the next one begins.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rl_edge_core.errors import ConfigurationError, RlEdgeError

SMALLEST_QUOTA_US = 1_000
"""The kernel takes no smaller one."""
PERIOD_US = 50_000
"""A control period of Ant-v5: a slow computer is slow in each of them."""
LARGEST_PERIOD_US = 1_000_000
_REMOVE_TIMEOUT_SEC = 5.0


class QuotaNotPermittedError(RlEdgeError):
    """This machine does not let us set a CPU quota; says what would."""


@dataclass(frozen=True)
class Throttling:
    """What the kernel did to a group, read back from it."""

    period_us: int
    quota_us: int
    periods: int
    """That the group computed in."""
    throttled_periods: int
    throttled_sec: float
    """Summed over cores."""

    @property
    def throttled_share(self) -> float:
        """Return the share of its periods in which the group was held."""
        return self.throttled_periods / self.periods if self.periods else 0.0

    def to_mapping(self) -> dict[str, Any]:
        """Return a mapping of JSON types."""
        return {**asdict(self), 'throttled_share': self.throttled_share}


def quota_of(core_percent: float) -> tuple[int, int]:
    """Return (quota, period) in us for a share of one core, in percent.

    The period grows for shares that the kernel's smallest quota is too large for. Raise
    ConfigurationError for shares that can't be set.
    """
    smallest = 100.0 * SMALLEST_QUOTA_US / LARGEST_PERIOD_US
    if not smallest <= core_percent <= 100.0:
        raise ConfigurationError(
            f'a share of {core_percent:g} % of a core cannot be set, must be {smallest:g} to 100'
        )
    share = core_percent / 100.0
    period_us = max(PERIOD_US, round(SMALLEST_QUOTA_US / share))
    return max(SMALLEST_QUOTA_US, round(share * period_us)), period_us


@contextlib.contextmanager
def held_to(pid: int, core_percent: float) -> Iterator['CpuGroup']:
    """Hold a process, with all its threads, to a share of one core while the block runs.

    Afterwards it is back in the group that it was in. Raise QuotaNotPermittedError where that is
    not possible, ConfigurationError for a share that can't be set.
    """
    quota_us, period_us = quota_of(core_percent)
    group = make_group(f'rl_edge-{os.getpid()}-{pid}')
    came_from = group.root / group_of(pid, group.version).lstrip('/')
    try:
        try:
            group.limit(quota_us, period_us)
            (group.folder / 'cgroup.procs').write_text(str(pid))
        except OSError as error:
            raise QuotaNotPermittedError(
                f'{group.folder} does not take a CPU quota ({error.strerror}): run as root, '
                f'outside of containers that forbid it'
            ) from error
        yield group
    finally:
        with contextlib.suppress(OSError):  # the process has ended, or its group has
            (came_from / 'cgroup.procs').write_text(str(pid))
        group.close()


@dataclass(frozen=True)
class CpuGroup:
    """A control group of our own, of either version."""

    folder: Path
    root: Path
    """Of its hierarchy."""
    version: int

    def limit(self, quota_us: int, period_us: int) -> None:
        """Set quota and period."""
        if self.version == 1:
            (self.folder / 'cpu.cfs_period_us').write_text(str(period_us))
            (self.folder / 'cpu.cfs_quota_us').write_text(str(quota_us))
        else:
            (self.folder / 'cpu.max').write_text(f'{quota_us} {period_us}')

    def read(self) -> Throttling:
        """Return what was set and what it led to, as the kernel says."""
        if self.version == 1:
            period_us = int((self.folder / 'cpu.cfs_period_us').read_text())
            quota_us = int((self.folder / 'cpu.cfs_quota_us').read_text())
        else:
            quota_us, period_us = map(int, (self.folder / 'cpu.max').read_text().split())
        stat = (self.folder / 'cpu.stat').read_text()
        return throttling_from(stat, quota_us=quota_us, period_us=period_us)

    def close(self) -> None:
        """Remove the group."""
        deadline = time.monotonic() + _REMOVE_TIMEOUT_SEC
        while time.monotonic() < deadline:
            try:
                self.folder.rmdir()
                return
            except OSError:  # busy while a process in it ends
                time.sleep(0.05)


def throttling_from(stat: str, *, quota_us: int, period_us: int) -> Throttling:
    """Return the counts in a ``cpu.stat``: v1 gives nanoseconds, v2 microseconds."""
    counts = {key: int(value) for key, value in (line.split() for line in stat.splitlines())}
    throttled_us = counts.get('throttled_usec', counts.get('throttled_time', 0) * 1e-3)
    return Throttling(
        period_us=period_us,
        quota_us=quota_us,
        periods=counts.get('nr_periods', 0),
        throttled_periods=counts.get('nr_throttled', 0),
        throttled_sec=throttled_us * 1e-6,
    )


def hierarchies(mountinfo: str) -> list[tuple[int, Path]]:
    """Return (version, mount point) of the hierarchies that can have a CPU controller."""
    found = []
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(' - ')
        mount_point = Path(fields.split()[4])
        kind, _, options = rest.split(maxsplit=2)
        if kind == 'cgroup' and 'cpu' in options.split()[-1].split(','):
            found.append((1, mount_point))
        elif kind == 'cgroup2':
            found.append((2, mount_point))
    return found


def group_of(pid: int, version: int) -> str:
    """Return the path, in its hierarchy, of the group that a process is in."""
    for line in Path(f'/proc/{pid}/cgroup').read_text().splitlines():
        _, controllers, path = line.split(':', 2)
        if (version == 1 and 'cpu' in controllers.split(',')) or (
            version == 2 and not controllers
        ):
            return path
    return '/'


def make_group(name: str) -> CpuGroup:
    """Make a group with a CPU controller; raise QuotaNotPermittedError where there is none."""
    reasons = []
    for version, root in hierarchies(Path('/proc/self/mountinfo').read_text()):
        try:
            if version == 2:
                if 'cpu' not in (root / 'cgroup.controllers').read_text().split():
                    raise OSError(0, 'its CPU controller is not available')
                (root / 'cgroup.subtree_control').write_text('+cpu')
            (root / name).mkdir()
        except OSError as error:
            reasons.append(f'{root}: {error.strerror}')
        else:
            return CpuGroup(root / name, root, version)
    why = '; '.join(reasons) or 'no cgroup hierarchy with a CPU controller is mounted'
    raise QuotaNotPermittedError(
        f'a CPU quota cannot be set here ({why}): run as root on a machine or in a container '
        f'whose /sys/fs/cgroup can be written to (docker run --privileged --cgroupns host)'
    )

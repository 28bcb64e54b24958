"""What a policy node counts and times over its life, in bounded memory."""

import bisect
import collections
import itertools
import math
import os
import time
from dataclasses import dataclass, field

import psutil

from rl_edge_core.errors import RlEdgeError
from rl_edge_policy.policy import RejectedObservationError

_BUCKETS_PER_E_FOLD = 200
"""Bucket edges grow by exp(1/200), 0.5 %."""
_LOWEST_US = 0.1
_HIGHEST_US = 1.0e8
_BUCKETS = math.ceil(math.log(_HIGHEST_US / _LOWEST_US) * _BUCKETS_PER_E_FOLD)
RECENT_SEC = 1.0
"""For how long a rejected observation or action is news."""
_MOST_RECENT = 10_000


class LatencyHistogram:
    """Count durations in logarithmic buckets: every one counts, quantiles are 0.25 % exact.

    Takes 4,145 counters whatever the length of the run. Durations from 0.1 us to 100 s are told
    apart; others count at the ends.
    """

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.total = 0

    def add(self, duration_us: float) -> None:
        """Count one duration in us, above 0."""
        index = int(math.log(max(duration_us, _LOWEST_US) / _LOWEST_US) * _BUCKETS_PER_E_FOLD)
        self._counts[min(index, _BUCKETS - 1)] += 1
        self.total += 1

    def quantile(self, share: float) -> float:
        """Return the duration in us that ``share`` (0 to 1) of all are at most; NaN when empty."""
        if not self.total:
            return math.nan
        rank = max(1, math.ceil(share * self.total))
        index = bisect.bisect_left(list(itertools.accumulate(self._counts)), rank)
        return _LOWEST_US * math.exp((index + 0.5) / _BUCKETS_PER_E_FOLD)


class RecentFaults:
    """Rejections of the last `RECENT_SEC`, the newest `_MOST_RECENT` of them at most."""

    def __init__(self) -> None:
        self._faults: collections.deque[tuple[float, bool]] = collections.deque(
            maxlen=_MOST_RECENT
        )
        self._reported_sec = -math.inf

    def add(self, *, of_observation: bool) -> bool:
        """Count one; return whether it is to be reported: the first one in `RECENT_SEC` is."""
        now = time.monotonic()
        self._faults.append((now, of_observation))
        is_news = now - self._reported_sec >= RECENT_SEC
        if is_news:
            self._reported_sec = now
        return is_news

    def counts(self) -> tuple[int, int]:
        """Return how many observations and how many actions were rejected of late."""
        oldest = time.monotonic() - RECENT_SEC
        while self._faults and self._faults[0][0] < oldest:
            self._faults.popleft()
        observations = sum(of_observation for _, of_observation in self._faults)
        return observations, len(self._faults) - observations


@dataclass
class PolicyCounters:
    """Counts and times, for the status and for /diagnostics."""

    actions: int = 0
    """Observations answered, by safe actions as well."""
    rejected_observations: int = 0
    failed_actions: int = 0
    """Answers of the model that were not finite, or none."""
    repeated_observations: int = 0
    """That were answered by the same action again."""
    swaps: int = 0
    last_fault: str = ''
    first_action_sec: float = math.nan
    """Age of the process when it had acted for the first time."""
    inference: LatencyHistogram = field(default_factory=LatencyHistogram)
    recent_faults: RecentFaults = field(default_factory=RecentFaults)

    def count_fault(self, error: RlEdgeError) -> bool:
        """Count a rejected observation or action; return whether it is to be reported."""
        of_observation = isinstance(error, RejectedObservationError)
        if of_observation:
            self.rejected_observations += 1
        else:
            self.failed_actions += 1
        self.last_fault = str(error)
        return self.recent_faults.add(of_observation=of_observation)

    def to_mapping(self) -> dict[str, object]:
        """Return the counts by name."""
        return {
            'actions': self.actions,
            'rejected_observations': self.rejected_observations,
            'failed_actions': self.failed_actions,
            'repeated_observations': self.repeated_observations,
            'swaps': self.swaps,
            'last_fault': self.last_fault,
        }


def process_age_sec() -> float:
    """Return seconds since this process was started, interpreter start and imports included.

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

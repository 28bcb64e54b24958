"""CPU quotas: the arithmetic, what the kernel's files say, and a process that is really held."""

import subprocess
import sys
from pathlib import Path

import pytest

from rl_edge_core.errors import ConfigurationError
from rl_edge_experiments.cpu_quota import (
    QuotaNotPermittedError,
    Throttling,
    group_of,
    held_to,
    hierarchies,
    make_group,
    quota_of,
    throttling_from,
)

MOUNTS_V1 = (
    '30 24 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n'
    '31 24 0:27 / /sys/fs/cgroup/memory rw,nosuid shared:10 - cgroup cgroup rw,memory\n'
)
MOUNTS_V2 = '35 24 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n'


@pytest.mark.parametrize(
    ('percent', 'quota_us', 'period_us'),
    [(50, 25_000, 50_000), (10, 5_000, 50_000), (2, 1_000, 50_000), (1, 1_000, 100_000)],
)
def test_the_period_grows_where_the_quota_cannot_shrink(percent, quota_us, period_us):
    assert quota_of(percent) == (quota_us, period_us)


@pytest.mark.parametrize('percent', [0.0, 0.09, 101.0, float('nan')])
def test_a_share_that_cannot_be_set_is_an_error(percent):
    with pytest.raises(ConfigurationError, match=r'must be 0\.1 to 100'):
        quota_of(percent)


def test_hierarchies_with_a_cpu_controller_are_found():
    assert hierarchies(MOUNTS_V1) == [(1, Path('/sys/fs/cgroup/cpu,cpuacct'))]
    assert hierarchies(MOUNTS_V2) == [(2, Path('/sys/fs/cgroup'))]


def test_both_versions_tell_the_same():
    first = throttling_from(
        'nr_periods 40\nnr_throttled 10\nthrottled_time 1500000000\n',
        quota_us=1000,
        period_us=50_000,
    )
    second = throttling_from(
        'usage_usec 7\nnr_periods 40\nnr_throttled 10\nthrottled_usec 1500000\n',
        quota_us=1000,
        period_us=50_000,
    )

    assert first == second == Throttling(50_000, 1000, 40, 10, 1.5)
    assert first.throttled_share == 0.25


def permitted_group():
    try:
        make_group('rl_edge-test').close()
    except QuotaNotPermittedError as error:
        pytest.skip(str(error))


def test_a_process_is_held_and_let_go_again():
    permitted_group()
    busy = subprocess.Popen(
        [sys.executable, '-c', 'import sys; print(flush=True)\nfor i in range(10**12): pass'],
        stdout=subprocess.PIPE,
    )
    try:
        busy.stdout.readline()
        before = {version: group_of(busy.pid, version) for version in (1, 2)}
        with held_to(busy.pid, 10.0) as group:
            # The kernel counts the periods that a late timer missed at once, and their time after.
            while (read := group.read()).throttled_periods < 3 or not read.throttled_sec:
                pass
            folder = group.folder
        after = {version: group_of(busy.pid, version) for version in (1, 2)}
    finally:
        busy.kill()
        busy.wait()
        busy.stdout.close()

    assert (read.quota_us, read.period_us) == (5_000, 50_000)
    assert read.periods >= read.throttled_periods
    assert before == after
    assert not folder.exists()


def test_a_machine_without_a_controller_is_said_with_the_remedy(monkeypatch):
    monkeypatch.setattr('rl_edge_experiments.cpu_quota.hierarchies', lambda _: [])

    with pytest.raises(QuotaNotPermittedError, match=r'no cgroup hierarchy.*run as root'):
        make_group('rl_edge-test')


def test_a_hierarchy_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    (tmp_path / 'cgroup.controllers').write_text('memory')
    monkeypatch.setattr('rl_edge_experiments.cpu_quota.hierarchies', lambda _: [(2, tmp_path)])

    with pytest.raises(QuotaNotPermittedError, match='its CPU controller is not available'):
        make_group('rl_edge-test')

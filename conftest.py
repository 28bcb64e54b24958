"""What every test of the workspace can use."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling

DOMAIN_IDS = range(1, 101)
"""DDS derives its ports from the domain: up to 101 they stay below Linux's ephemeral ports."""

TESTS = Path(__file__).with_name('tests')
SERIAL, SERIAL_TESTS = 'serial', (TESTS / 'system', TESTS / 'faults')
"""Folders of tests of whole systems, which run one after the other; files whose tests wait for no
clock have a group of their own and run beside them."""

FAST_DDS_PROFILE = TESTS / 'fast_dds.xml'
_number = itertools.count(os.getpid())
gc.disable()  # until all tests are imported: see `pytest_collection_finish`

# What a script starts with `&` ignores SIGINT, and so would the programs that tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class OneFileOneWorker(LoadGroupScheduling):
    """Give a worker whole files, and one worker all tests that must not run beside each other.

    What the fixtures of a file make is made once then.
    """

    def _split_scope(self, nodeid: str) -> str:
        group = super()._split_scope(nodeid)
        return nodeid.partition('::')[0] if group == nodeid else group


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run one worker more than there are cores: tests of whole systems wait much of the time."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneFileOneWorker:
    """Take the place of the scheduler that --dist names."""
    return OneFileOneWorker(config, log)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the serial tests. Begin with the slow ones where workers share them, else end so.

    Files whose tests may take long come before the others, so that no worker is left with a long
    one when the others are done.
    """
    longest: Counter[Path] = Counter()
    for item in items:
        if timeout := item.get_closest_marker('timeout'):
            longest[item.path] = max([longest[item.path], *timeout.args])

    def slowness(item: pytest.Item) -> tuple[bool, bool, bool, float]:
        group = item.get_closest_marker('xdist_group')
        return (
            group is not None and group.args == (SERIAL,),
            group is not None,
            item.get_closest_marker('system') is not None,
            longest[item.path],
        )

    for item in items:
        if any(item.path.is_relative_to(folder) for folder in SERIAL_TESTS):
            item.add_marker(pytest.mark.system)
            if item.get_closest_marker('xdist_group') is None:
                item.add_marker(pytest.mark.xdist_group(SERIAL))
    items.sort(key=slowness, reverse='PYTEST_XDIST_WORKER' in os.environ)


def pytest_collection_finish() -> None:
    """Leave what was imported out of garbage collections: TensorFlow's converter asks for many."""
    gc.enable()
    gc.freeze()


@pytest.fixture(scope='module', autouse=True)
def _imports_stay_frozen() -> Iterator[None]:
    """Leave them out again after a policy node, which takes back what was frozen as it closes."""
    yield
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what the tests of each folder took, waiting included."""
    seconds: Counter[str] = Counter()
    for report in itertools.chain.from_iterable(terminalreporter.stats.values()):
        if hasattr(report, 'duration'):
            seconds['/'.join(report.nodeid.split('/')[:2])] += report.duration
    if len(seconds) > 1:
        parts = (f'{folder} {total:.0f} s' for folder, total in seconds.most_common())
        terminalreporter.write_line(f'tests took: {", ".join(parts)}')


@contextmanager
def reserved_domain() -> Iterator[int]:
    """Hold a domain that no other test process of this machine holds.

    An abstract socket stands for it: it is gone when we are, however we end, and it is seen by
    exactly the processes that share our network. Each call begins to look at another domain:
    shared memory that a killed process left locked is not met again by the next test.
    """
    for _ in DOMAIN_IDS:
        domain = DOMAIN_IDS[next(_number) % len(DOMAIN_IDS)]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reservation:
            try:
                reservation.bind(f'\0rl_edge_domain_{domain}')
            except OSError:
                continue
            yield domain
            return
    raise RuntimeError(f'all {len(DOMAIN_IDS)} test domains are taken: too many tests run at once')


@pytest.fixture(scope='session', autouse=True)
def _middleware_as_between_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let nodes that a test has in its own process exchange messages as any others do."""
    name, profile = 'FASTRTPS', FAST_DDS_PROFILE
    if os.environ.get('ROS_DISTRO', 'jazzy') != 'jazzy':  # Fast DDS 3 has another word for it
        name, profile = 'FASTDDS', tmp_path_factory.mktemp('profile') / 'fast_dds.xml'
        words = FAST_DDS_PROFILE.read_text().replace('heartbeatPeriod', 'heartbeat_period')
        profile.write_text(words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f'{name}_DEFAULT_PROFILES_FILE', str(profile))
        yield


@pytest.fixture(scope='session', autouse=True)
def _session_domain() -> Iterator[None]:
    """Keep tests without a domain of their own off the user's robots."""
    with reserved_domain() as domain, pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_DOMAIN_ID', str(domain))
        yield


@pytest.fixture
def ros_domain_id(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Give the test, and the processes it starts, a ROS domain of their own."""
    with reserved_domain() as domain:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
        yield domain

"""Faults injected into a running loop of real processes: `make faults`.

A case is a test with the marker ``faults``: the name of the fault and what is expected of it. It
takes the fixture ``loop``, one loop per mode that all cases share, breaks something in it, and
calls ``happened`` with what was seen; ``only`` names the mode of a case that makes sense in one
alone. Beside what the case asserts, no action may leave its limits, no transition may be doubled,
and none may be lost (unless ``may_lose``).

Plain runs of pytest leave these cases out: they take about ten minutes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rl_edge_bringup.models import results_folder
from rl_edge_bringup.systems import UNTRAINED
from rl_edge_compress.untrained import ensure_untrained

# Tests are imported by path (importlib mode), so their helper modules have to be made findable.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from fault_harness import ENVIRONMENT
from fault_loop import FaultLoop
from fault_results import Row, write_results

HERE = Path(__file__).parent
LOCKSTEP, REALTIME = 'lockstep', 'realtime'
MARKER = 'faults'
ROW = pytest.StashKey[Row]()
ROWS = pytest.StashKey[list[Row]]()


def pytest_addoption(parser):
    group = parser.getgroup('faults', 'faults injected into a running loop')
    group.addoption('--faults-only', default='', help='names or parts of names, comma-separated')
    group.addoption('--faults-mode', default='both', choices=('both', LOCKSTEP, REALTIME))
    group.addoption('--faults-domain', type=int, default=91, help='ROS domain of the loops')
    group.addoption('--faults-output', type=Path, help='folder of faults.json and faults.md')


def pytest_collection_modifyitems(config, items):
    kept, left_out = [], []
    wanted = [word.strip().lower() for word in _option(config, 'only', '').split(',')]
    mode = _option(config, 'mode', 'both')
    for item in items:
        if not item.path.is_relative_to(HERE):
            kept.append(item)
            continue
        item.add_marker(pytest.mark.timeout(900))
        marker = item.get_closest_marker(MARKER)
        if marker is None:
            kept.append(item)
            continue
        item_mode = item.callspec.params['mode']
        if marker.kwargs.get('only') not in (None, item_mode):
            continue
        item.add_marker(pytest.mark.system)
        name = marker.args[0]
        item.stash[ROW] = Row(name, item_mode, marker.kwargs['expected'])
        is_wanted = any(word in name.lower() for word in wanted) and mode in ('both', item_mode)
        is_asked_for = MARKER in config.getoption('markexpr')
        (kept if is_asked_for and is_wanted else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
    items[:] = kept


def _option(config: pytest.Config, name: str, default: str) -> Any:
    # Without its options where pytest was started for more than this folder.
    return config.getoption(f'faults_{name}', default=default)


@pytest.fixture(scope='session', params=[LOCKSTEP, REALTIME])
def mode(request) -> str:
    """The mode of the loop; session scope, so that pytest runs the cases of one mode together."""
    return request.param


class LoopOfMode:
    """A loop that cases share; after a failed one the next case gets a new loop."""

    def __init__(self, make: Callable[[], FaultLoop]) -> None:
        self._make = make
        self._harness: FaultLoop | None = None
        self.is_healthy = False

    def running(self) -> FaultLoop:
        """Return the loop, started where there is none that is healthy."""
        if not self.is_healthy:
            self.close()
            self._harness = self._make().__enter__()
        self.is_healthy = False  # until the case that now gets it has passed
        return self._harness

    def close(self) -> None:
        if self._harness is not None:
            self._harness.close()


@pytest.fixture(scope='session')
def loop_of_mode(request, mode, tmp_path_factory) -> Iterator[LoopOfMode]:
    model = ensure_untrained(ENVIRONMENT, '', results_folder() / UNTRAINED)
    domain_id = _option(request.config, 'domain', 91)
    folder = tmp_path_factory.mktemp(f'loop-{mode}')
    holder = LoopOfMode(
        lambda: FaultLoop(folder, model, mode, domain_id, qos=str(HERE / 'qos_watched.yaml'))
    )
    yield holder
    holder.close()


@pytest.fixture
def happened(request) -> Callable[[str], None]:
    """Call it with what was seen of the fault; it is what the table shows."""
    return lambda text: setattr(request.node.stash[ROW], 'happened', text)


@pytest.fixture
def loop(request, loop_of_mode) -> Iterator[FaultLoop]:
    """A loop that runs steadily; afterwards its transitions are audited."""
    marker, row = request.node.get_closest_marker(MARKER), request.node.stash[ROW]
    if marker.kwargs.get('needs_root') and os.geteuid() != 0:
        pytest.skip('needs root')
    harness = loop_of_mode.running()
    with harness.watched():
        harness.wait_until_steady('the loop runs before the fault')
        since = harness.since = harness.newest_observation()
        yield harness
        audit = harness.audit(since)
    row.lost, row.steps = audit.lost, audit.steps
    assert not audit.outside, f'{audit.outside} actions outside their limits'
    assert not audit.doubled, f'{audit.doubled} transitions doubled'
    assert not audit.lost or marker.kwargs.get('may_lose'), f'{audit.lost} transitions lost'
    loop_of_mode.is_healthy = row.passed


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    began = time.monotonic()
    result = yield
    if ROW in item.stash:
        row = item.stash[ROW]
        row.duration_sec = time.monotonic() - began
        item.config.stash.setdefault(ROWS, []).append(row)
        reporter = item.config.pluginmanager.get_plugin('terminalreporter')
        reporter.ensure_newline()
        reporter.write_line(str(row))
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if ROW in item.stash:
        row = item.stash[ROW]
        if report.failed:
            row.passed = False
            what = report.longrepr.reprcrash.message if report.longrepr else report.outcome
            row.happened = f'{row.happened}; BUT {what}' if row.happened else what
        elif report.skipped:
            row.happened = report.longrepr[2].replace('Skipped', 'skipped')
    return report


def pytest_report_teststatus(report):
    # a module that is skipped as a whole has a report without keywords
    if MARKER in getattr(report, 'keywords', ()) and report.passed:  # its row says it
        return ('passed' if report.when == 'call' else ''), '', ''
    return None


def pytest_sessionfinish(session):
    rows = session.config.stash.get(ROWS, [])
    if rows and (folder := _option(session.config, 'output', None)):
        line = write_results(folder, rows)
        session.config.stash[SUMMARY] = line


SUMMARY = pytest.StashKey[str]()


def pytest_terminal_summary(terminalreporter, config):
    if SUMMARY in config.stash:
        terminalreporter.write_line(config.stash[SUMMARY])

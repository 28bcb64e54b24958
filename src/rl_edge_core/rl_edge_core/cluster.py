"""Ray, in the one place that starts it: connecting, versions, and calls spread over machines.

Ray is an extra (`tools/env --with ray`), imported when a cluster is asked for and never before.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import multiprocessing
import os
import platform
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

from rl_edge_core.errors import ConfigurationError, RlEdgeError, StorageError, first_line
from rl_edge_core.extras import require_extra
from rl_edge_core.process_environment import environment_variables
from rl_edge_core.results import installed_versions
from rl_edge_core.signals import blocked, die_with

LOCAL, AUTO = 'local', 'auto'
_WAIT = 'RAY_gcs_server_port_wait_time_s'
RETRIES = 5
"""How often a call is repeated whose process or node ended; an exception of its own is final."""
STARTS = 3
"""How often a cluster on this machine is tried to start."""
STOPPING_SEC = 60.0
"""How long calls that nobody waits for any more may take to end, when they are interrupted."""
CHECKED_PACKAGES = ('rl_edge_core', 'mujoco', 'gymnasium', 'numpy', 'ai-edge-litert')
"""Whose versions must be the same everywhere: they decide what an episode comes to."""

Common = TypeVar('Common')
Item = TypeVar('Item')
Result = TypeVar('Result')


@contextlib.contextmanager
def connected(address: str, *, cpus: int | None = None) -> Iterator[Any]:
    """Give the `ray` module, connected to a cluster; leave the cluster at the end.

    `address` is `local` (start a cluster on this machine, of `cpus` slots, that ends with the
    block), `auto` (the one that runs on this machine) or HOST:PORT of its head. Raise
    MissingExtraError when Ray is not installed, ConfigurationError when nothing answers there.

    A cluster that is started here listens on the loopback interface alone, without dashboard,
    and asks for a token of its own.
    """
    secure_environment(starts=address == LOCAL)
    ray = import_ray()
    if ray.is_initialized():  # by who called us: they also leave it
        yield ray
        return
    settings: dict[str, Any] = {'address': address}
    if address == LOCAL:
        settings |= {'include_dashboard': False, 'num_cpus': cpus}
    for attempt in range(STARTS if address == LOCAL else 1):
        try:
            # One attempt of 30 s at an address, not 20; later processes know nothing of it.
            once = {} if address == LOCAL else {_WAIT: os.environ.get(_WAIT) or '1'}
            with environment_variables(once):
                ray.init(log_to_driver=False, logging_level='error', **settings)
            break
        except Exception as error:  # Ray has no base for what can go wrong here
            ray.shutdown()
            if address == LOCAL and attempt < STARTS - 1:
                continue  # a busy machine needs longer than Ray waits for its processes
            if 'AuthToken' in str(error.__cause__):
                raise ConfigurationError(
                    f'the Ray cluster at {address!r} has another token: copy ~/.ray/auth_token '
                    'from its head, and set RAY_AUTH_MODE=token'
                ) from error
            raise ConfigurationError(
                f'no Ray cluster answers at {address!r}: {first_line(error)}. Start one by '
                f'`ray start --head`, or use --cluster local'
            ) from error
    watcher = _start_watcher(ray)
    try:
        yield ray
    finally:
        ray.shutdown()
        watcher.communicate(b'clean')


def _start_watcher(ray: Any) -> subprocess.Popen[bytes]:
    """Start a process that says why this one ended, should Ray end it.

    Ray exits a process, from C++ and without a word, when the head of the cluster or the node of
    this machine is gone. The watcher sees its input end without having been told that all is well.
    """
    own = ray.get_runtime_context().get_node_id()
    addresses = [ray.get_runtime_context().gcs_address] + [
        f'{node["NodeManagerAddress"]}:{node["NodeManagerPort"]}'
        for node in ray.nodes()
        if node['NodeID'] == own
    ]
    return subprocess.Popen(
        [sys.executable, '-m', 'rl_edge_core.cluster', 'watch', *addresses],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the others
    )


def say_what_ended(addresses: Sequence[str]) -> None:
    """Wait for the end of standard input; unless all is well, say which address is silent."""
    if sys.stdin.buffer.read() == b'clean':
        return
    for address in addresses:
        host, _, port = address.rpartition(':')
        try:
            socket.create_connection((host, int(port)), timeout=5.0).close()
        except OSError:
            print(
                f'error: the Ray cluster at {addresses[0]} was lost ({address} does not answer), '
                'and Ray ended this command with it; what a training saved goes on with '
                '`rl_edge train --resume RUN --cluster ADDRESS`',
                file=sys.stderr,
            )
            return


def add_cluster_argument(parser: argparse.ArgumentParser, what: str) -> None:
    """Give a command the argument `--cluster`; `what` it does there."""
    parser.add_argument(
        '--cluster',
        default='',
        metavar='ADDRESS',
        help=f'{what} on a Ray cluster: HOST:PORT of its head, auto for the one on this machine, '
        'local to start one here; see docs/cluster.md',
    )


def secure_environment(*, starts: bool) -> None:
    """Let a cluster that `starts` here ask for a token, and listen on the loopback alone.

    The token lives as long as the cluster, in the environment of its processes and in no file,
    unless the user has one. For a cluster that runs already, Ray finds the user's token itself.
    Ray reads these variables when it is imported.
    """
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    if not starts:
        return
    os.environ.setdefault('RAY_AUTH_MODE', 'token')
    has_token = {'RAY_AUTH_TOKEN', 'RAY_AUTH_TOKEN_PATH'} & set(os.environ)
    if os.environ['RAY_AUTH_MODE'] == 'token' and not has_token:
        os.environ['RAY_AUTH_TOKEN'] = secrets.token_hex(32)
    # Named after what Ray made it for. It listens on every interface otherwise, and replaces a
    # node address of 127.0.0.1 by the one that others reach.
    os.environ['RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER'] = '0'


def import_ray() -> Any:
    """Return the `ray` module; raise MissingExtraError where the extra is not installed."""
    require_extra('ray')
    import ray
    import ray.exceptions

    return ray


def versions() -> dict[str, str]:
    """Return what must be the same on every machine of a cluster, by name."""
    missing = dict.fromkeys(CHECKED_PACKAGES, 'not installed')
    python = '.'.join(platform.python_version_tuple()[:2])
    return {'python': python, **missing, **installed_versions(CHECKED_PACKAGES)}


def check_versions(theirs: dict[str, str], ours: dict[str, str], *, node: str) -> None:
    """Raise ConfigurationError that names a node and each package it has in another version."""
    differences = [
        f'{name} is {theirs.get(name, "not installed")} there, {version} here'
        for name, version in ours.items()
        if theirs.get(name) != version
    ]
    if differences:
        raise ConfigurationError(
            f'node {node} is refused: {"; ".join(differences)}: install the same versions on '
            'every machine'
        )


def node_name() -> str:
    """Return the name of this machine, on a cluster with the address that Ray knows it by."""
    ray = sys.modules.get('ray')  # there in every process that Ray started
    if ray is None or not ray.is_initialized():
        return socket.gethostname()
    return f'{socket.gethostname()} ({ray.util.get_node_ip_address()})'


def spread(
    function: Callable[[Common, Item], Result],
    common: Common,
    items: Iterable[Item],
    *,
    cluster: str = '',
    processes: int = 1,
) -> Generator[Result, None, None]:
    """Call `function(common, item)` for each item; yield the results in the order of the items.

    With `cluster` (see `connected`) the calls are made all over it, else in so many `processes` of
    this machine, of which one is this one. `function` is one of a module that every machine has;
    `common` is handed to each machine or process once. Items are taken as calls are made, a few
    ahead of the results, so they may be endless: close the iterator when there are enough.

    What the function raises ends the loop. On a cluster, calls that nobody waits for any more get
    a KeyboardInterrupt, and may save what they have. A call whose node ended is made again
    elsewhere; a process of this machine that ended is an RlEdgeError. Raise ConfigurationError for
    a node with other versions, naming it.
    """
    if not cluster and processes == 1:
        for item in items:
            yield function(common, item)
        return
    place = (
        _cluster_calls(function, common, cluster)
        if cluster
        else _process_calls(function, common, processes)
    )
    with place as calls:
        remaining = iter(items)
        ordered: deque[Any] = deque()
        running: set[Any] = set()
        try:
            while True:
                for item in itertools.islice(remaining, max(0, 2 * calls.slots() - len(running))):
                    ordered.append(calls.submit(item))
                    running.add(ordered[-1])
                if not ordered:
                    return
                running -= calls.wait_for_any(running)
                while ordered and ordered[0] not in running:
                    yield calls.result(ordered.popleft())
        finally:
            calls.abandon(running)


@dataclass(frozen=True)
class _Calls:
    """How calls are made in one place; a call is whatever `submit` returns."""

    slots: Callable[[], int]
    """How many run at once."""
    submit: Callable[[Any], Any]
    wait_for_any: Callable[[set[Any]], set[Any]]
    """Wait until one of these has ended; return those that have."""
    result: Callable[[Any], Any]
    abandon: Callable[[set[Any]], None]
    """End calls that nobody waits for any more."""


@contextlib.contextmanager
def _cluster_calls(
    function: Callable[[Common, Item], Result], common: Common, address: str
) -> Iterator[_Calls]:
    with connected(address) as ray, named_errors(ray):
        call = ray.remote(_checked_call).options(
            num_cpus=1, max_retries=RETRIES, scheduling_strategy='SPREAD'
        )
        ours, shared = versions(), ray.put(common)

        def abandon(calls: set[Any]) -> None:
            for one in calls:
                ray.cancel(one)  # a KeyboardInterrupt where it runs
            if calls:
                ray.wait(list(calls), num_returns=len(calls), timeout=STOPPING_SEC)

        yield _Calls(
            slots=lambda: max(1, int(ray.cluster_resources().get('CPU', 0))),
            submit=lambda item: call.remote(function, shared, item, ours),
            wait_for_any=lambda calls: set(wait_for_any(ray, calls)),
            result=ray.get,
            abandon=abandon,
        )


def wait_for_any(
    ray: Any, references: Iterable[Any], *, timeout_sec: float | None = None
) -> list[Any]:
    """Wait until one of these is ready; return all that are, in their order; none at a timeout.

    `ray.wait` alone returns any one of those that are ready, and may leave another for long.
    """
    references = list(references)
    one: list[Any] = ray.wait(references, timeout=timeout_sec)[0]
    return ray.wait(references, num_returns=len(references), timeout=0)[0] or one


@contextlib.contextmanager
def _process_calls(
    function: Callable[[Common, Item], Result], common: Common, count: int
) -> Iterator[_Calls]:
    pool = futures.ProcessPoolExecutor(
        count, multiprocessing.get_context('spawn'), _prepare_process, (function, common)
    )

    def submit(item: Any) -> futures.Future[Any]:
        with blocked(signal.SIGINT):  # Ctrl-C ends the process that waits for those started here
            return pool.submit(_call_in_process, item)

    try:
        yield _Calls(
            slots=lambda: count,
            submit=submit,
            wait_for_any=lambda calls: (
                futures.wait(calls, return_when=futures.FIRST_COMPLETED).done
            ),
            result=lambda call: call.result(),
            abandon=lambda calls: None,  # what runs, ends; what waits, is cancelled below
        )
    except BrokenProcessPool as error:
        raise RlEdgeError(
            f'one of {count} processes was killed, maybe for want of memory: use fewer'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_process_call: Callable[[Any], Any]


def _prepare_process(function: Callable[[Common, Item], Result], common: Common) -> None:
    global _process_call
    _process_call = functools.partial(function, common)
    parent = multiprocessing.parent_process()
    assert parent is not None
    die_with(parent.pid or 0)


def _call_in_process(item: Any) -> Any:
    return _process_call(item)


def _checked_call(
    function: Callable[[Common, Item], Result],
    common: Common,
    item: Item,
    expected: dict[str, str],
) -> Result:
    check_versions(versions(), expected, node=node_name())
    return function(common, item)


@contextlib.contextmanager
def named_errors(ray: Any) -> Iterator[None]:
    """Turn Ray's errors into ours, and what a call raised into that itself.

    Memory or a disk that is full is a StorageError that says what to do.
    """
    errors = ray.exceptions
    full = {
        errors.ObjectStoreFullError: 'the object store of Ray is full: give it more memory '
        '(ray start --object-store-memory) or take fewer workers',
        errors.OutOfDiskError: 'the disk that Ray spills to is full: free some space below '
        '/tmp/ray',
        errors.OutOfMemoryError: 'a machine of the cluster has no memory left for its workers: '
        'give it fewer slots (ray start --num-cpus)',
    }
    try:
        yield
    except errors.RayTaskError as error:
        with named_errors(ray):
            raise error.cause from error
    except tuple(full) as error:
        remedy = next(text for kind, text in full.items() if isinstance(error, kind))
        raise StorageError(f'{remedy} ({first_line(error)})') from error
    except errors.RayError as error:
        raise RlEdgeError(f'the Ray cluster failed: {first_line(error)}') from error


def wait_for_nodes(address: str, count: int, *, timeout_sec: float = 600.0) -> None:
    """Return when a cluster has `count` nodes; raise ConfigurationError when it does not get them.

    For scripts that start nodes: `python -m rl_edge_core.cluster wait ADDRESS COUNT`.
    """
    deadline = time.monotonic() + timeout_sec
    while True:
        with contextlib.suppress(ConfigurationError), connected(address) as ray:
            there = sum(node['Alive'] for node in ray.nodes())
            if there >= count:
                return
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f'the cluster at {address} has not got {count} nodes in {timeout_sec:.0f} s'
            )
        time.sleep(1.0)


if __name__ == '__main__':
    _command, *_words = sys.argv[1:]
    if _command == 'watch':
        say_what_ended(_words)
    else:
        try:
            wait_for_nodes(_words[0], int(_words[1]))
        except RlEdgeError as error:
            sys.exit(f'error: {error}')

"""Two hosts on one machine: network namespaces joined by a pair of virtual cables. Needs root."""

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from rl_edge_core.errors import ConfigurationError, RlEdgeError

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
OVER_UDP = {'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4', 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'}
"""Environment of nodes on two hosts: no shared memory, which both would see here."""


def missing_rights() -> str:
    """Return why two hosts can't be made here; empty when they can."""
    if os.geteuid() != 0:
        return 'network namespaces need root'
    if shutil.which('ip') is None:
        return 'the command ip is missing (package iproute2)'
    return ''


@dataclass(frozen=True)
class TwoHosts:
    """Two network namespaces joined by a virtual cable."""

    first: str
    """The name of its namespace."""
    second: str
    first_address: str = '10.77.0.1'
    second_address: str = '10.77.0.2'

    @property
    def first_link(self) -> str:
        """Return the network interface of the first host."""
        return f'{self.first}-0'

    @property
    def second_link(self) -> str:
        """Return the network interface of the second host."""
        return f'{self.second}-0'

    def on_second(self) -> tuple[str, ...]:
        """Return the words that make a command run on the second host."""
        return ('ip', 'netns', 'exec', self.second)

    def cut(self) -> None:
        """Pull the cable out."""
        _ip('-n', self.second, 'link', 'set', self.second_link, 'down')

    def mend(self) -> None:
        """Put the cable in again."""
        _ip('-n', self.second, 'link', 'set', self.second_link, 'up')


@contextlib.contextmanager
def two_hosts() -> Iterator[TwoHosts]:
    """Make two hosts joined by a cable; they are removed afterwards.

    Raise ConfigurationError without the rights, RlEdgeError when the kernel refuses.
    """
    if reason := missing_rights():
        raise ConfigurationError(f'{reason}: run it as root, or with sudo')
    number = os.getpid() % 100_000
    hosts = TwoHosts(f'rle{number}a', f'rle{number}b')
    first, second = hosts.first, hosts.second
    try:
        for name in (first, second):
            _ip('netns', 'add', name)
            _ip('-n', name, 'link', 'set', 'lo', 'up')
        cable = ('type', 'veth', 'peer', 'name', hosts.second_link, 'netns', second)
        _ip('-n', first, 'link', 'add', hosts.first_link, *cable)
        for name, link, address in (
            (first, hosts.first_link, hosts.first_address),
            (second, hosts.second_link, hosts.second_address),
        ):
            _ip('-n', name, 'address', 'add', f'{address}/24', 'dev', link)
            _ip('-n', name, 'link', 'set', link, 'multicast', 'on', 'up')
            _ip('-n', name, 'route', 'add', '224.0.0.0/4', 'dev', link)
        yield hosts
    finally:
        for name in (first, second):
            subprocess.run(['ip', 'netns', 'delete', name], check=False, capture_output=True)


def _ip(*words: str) -> None:
    done = subprocess.run(['ip', *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RlEdgeError(f'ip {" ".join(words)}: {done.stderr.strip()}')


@contextlib.contextmanager
def inside(host: str) -> Iterator[None]:
    """Move this thread, and the threads and processes it starts, to a network namespace."""
    before = os.open('/proc/thread-self/ns/net', os.O_RDONLY)
    there = os.open(f'/run/netns/{host}', os.O_RDONLY)
    try:
        _enter(there)
        yield
    finally:
        _enter(before)
        os.close(before)
        os.close(there)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise RlEdgeError(f'setns: {os.strerror(ctypes.get_errno())}')

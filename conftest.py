"""What every test of the workspace can use."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

DOMAIN_IDS = range(1, 101)
"""DDS derives its ports from the domain: up to 101 they stay below Linux's ephemeral ports."""


@contextmanager
def reserved_domain() -> Iterator[int]:
    """Hold a domain that no other test process of this machine holds.

    An abstract socket stands for it: it is gone when we are, however we end, and it is seen by
    exactly the processes that share our network.
    """
    first = os.getpid()
    for offset in range(len(DOMAIN_IDS)):
        domain = DOMAIN_IDS[(first + offset) % len(DOMAIN_IDS)]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reservation:
            try:
                reservation.bind(f'\0rl_edge_domain_{domain}')
            except OSError:
                continue
            yield domain
            return
    raise RuntimeError(f'all {len(DOMAIN_IDS)} test domains are taken: too many tests run at once')


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

"""Small programs for the runner to run."""

import sys
import textwrap
from dataclasses import dataclass

from rl_edge_bringup.running_system import RunningSystem
from rl_edge_bringup.systems import NodeDescription


@dataclass(frozen=True)
class Program:
    """A program in Python that stands where a node does."""

    name: str
    code: str
    ends_run: bool = False
    ready_file: str = ''

    @property
    def node(self):
        return NodeDescription(
            'none', 'none', self.name, 'ant0', ends_run=self.ends_run, ready_file=self.ready_file
        )

    @property
    def command(self):
        return (sys.executable, '-c', textwrap.dedent(self.code))


def run(*programs, **kwargs):
    return RunningSystem(programs, **kwargs)

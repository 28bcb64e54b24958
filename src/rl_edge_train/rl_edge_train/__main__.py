"""Command line: train, evaluate, export and compare policies."""

from __future__ import annotations

import sys

from rl_edge_train.command_line import main

if __name__ == '__main__':
    sys.exit(main())

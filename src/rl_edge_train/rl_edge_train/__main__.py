"""Command line: train, evaluate, export and compare policies."""

import sys

from rl_edge_train.command_line import main

if __name__ == '__main__':
    sys.exit(main())

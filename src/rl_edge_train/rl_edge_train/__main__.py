"""Command line: train, evaluate, export and compare policies."""

from rl_edge_core.command import run_alone
from rl_edge_train.command_line import main

if __name__ == '__main__':
    run_alone(main)

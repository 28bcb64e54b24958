"""Command line: ``python -m rl_edge_bringup NAME key:=value ...``."""

from rl_edge_bringup.command_line import main

if __name__ == '__main__':
    raise SystemExit(main())

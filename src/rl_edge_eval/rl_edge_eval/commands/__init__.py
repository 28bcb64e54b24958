"""The commands of ``python -m rl_edge_eval``."""

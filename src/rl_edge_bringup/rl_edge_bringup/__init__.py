"""Systems of rl_edge nodes: described once, started by two front-ends, measured by experiments."""

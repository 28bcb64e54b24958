"""Experiments: each a list of runs, and the columns that it shows of them."""

"""Benchmarks: every value beside its limit or its alternative, measured in the same run."""

"""Benchmarks: every figure beside its limit or its alternative, measured in the same run."""

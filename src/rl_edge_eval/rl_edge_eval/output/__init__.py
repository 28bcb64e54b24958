"""Metrics as tables, files and plots."""

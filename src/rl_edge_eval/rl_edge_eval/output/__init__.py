"""Figures as tables, files and pictures."""

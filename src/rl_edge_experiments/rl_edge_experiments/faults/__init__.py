"""The fault matrix: each fault on real processes, with what was expected and what happened."""

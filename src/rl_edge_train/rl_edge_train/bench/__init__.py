"""Our trainer beside Stable-Baselines3, on the same work."""

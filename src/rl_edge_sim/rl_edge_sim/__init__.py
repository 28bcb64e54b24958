"""The simulator: environments, reward terms, the rollout, and the node that serves them."""

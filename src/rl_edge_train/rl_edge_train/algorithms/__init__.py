"""One file an algorithm, each with its frozen configuration and its agent."""

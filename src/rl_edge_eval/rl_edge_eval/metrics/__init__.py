"""From messages to figures: per episode, per robot, per node."""

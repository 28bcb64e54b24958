"""From messages to metrics: per episode, per robot, per node."""

"""Record the control loop, evaluate what was recorded, and replay it through other policies."""

"""Training on several machines by Ray, which is imported when a command asks for a cluster."""

"""A robot behind standard ROS topics: observation terms, commands, safety, and its node."""

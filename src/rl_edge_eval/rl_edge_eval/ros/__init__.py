"""Talk to the ROS graph: what to subscribe to, and how."""

"""What of learning from robots needs ROS, beside the node."""

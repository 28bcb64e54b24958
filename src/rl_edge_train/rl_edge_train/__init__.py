"""Train policies for rl_edge: algorithms, buffers and the fast trainer. No ROS in here."""

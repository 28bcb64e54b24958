"""Learning from transitions that robots send, without ROS; train_node connects it."""

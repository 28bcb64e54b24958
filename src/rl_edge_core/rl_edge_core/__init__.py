"""What more than one rl_edge package needs, each thing once. No ROS outside the folder ros/."""

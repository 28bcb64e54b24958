"""The control loop that simulator and robot share: steps, answers, episodes. No ROS here."""

"""Write bags that survive a kill. No ROS here: messages come as serialized bytes."""

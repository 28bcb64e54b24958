"""Read bags, damaged ones too: what can be had, and what was left out. No ROS here."""

"""Parts of the sim node that know ROS."""

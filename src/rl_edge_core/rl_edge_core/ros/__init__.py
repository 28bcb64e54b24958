"""What the nodes share: conversions, QoS profiles, parameters, reporting, and their main."""

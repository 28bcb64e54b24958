"""The parts of the sim node: parameters, messages, publishers, and its view of other nodes."""

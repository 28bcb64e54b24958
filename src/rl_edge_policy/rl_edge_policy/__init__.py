"""Run policies: runtimes behind one interface, and the policy node."""

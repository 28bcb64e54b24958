"""The parts of the policy node: its reports, and the loading of models beside its loop."""

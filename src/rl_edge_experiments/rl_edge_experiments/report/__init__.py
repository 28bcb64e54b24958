"""The study's experiment: full and compressed policies, alone and beside busy processes."""

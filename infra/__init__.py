"""Real servers for development, tests and single-machine use."""

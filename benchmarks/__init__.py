"""Each module is one command: ``python -m benchmarks.NAME``; ``make bench`` runs them all."""

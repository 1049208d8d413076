"""The shared contract of flamebus: domain, wire, store, settings and the command line."""

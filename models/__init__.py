"""Models on profiles: protocols that detectors and clusterers implement."""

"""Kafka, InfluxDB and an S3 server as processes on loopback: for tests, and for ``flamebus up`` without Docker."""

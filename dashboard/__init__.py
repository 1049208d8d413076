"""The HTTP API and the flame-graph page, reading the store."""

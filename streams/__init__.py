"""Faust workers: from batches on the bus to windows, hotspots, the store and InfluxDB."""

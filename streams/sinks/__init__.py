"""Where finished windows go: bus, InfluxDB, object store."""

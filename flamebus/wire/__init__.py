"""MessagePack on the bus: how batches, results and ticks are written, and the one table of topics."""

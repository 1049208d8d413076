"""The agent: from kernel ring buffers to batches on the bus."""

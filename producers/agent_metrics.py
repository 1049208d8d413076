"""What the agent says of itself on ``/metrics``; docs/agent.md has a heading for each."""

from flamebus.metrics import counter, gauge

SAMPLES = counter("agent_samples", "Samples taken from the kernel, by kind.", ["kind"])
LOSSES = counter("agent_lost_samples", "Samples lost or dropped, or losing a part, by reason.", ["reason"])
BATCHES = counter("agent_batches", "Records handed over for publishing.")
DELIVERED = counter("agent_delivered_batches", "Records that the bus has confirmed.")
DELIVERED_BYTES = counter("agent_delivered_bytes", "Bytes of confirmed records before compression.")
RETRIED = counter("agent_retried_batches", "Records that failed and were put back, by error.", ["error"])
SPOOL_BYTES = gauge("agent_spool_bytes", "Bytes of batches that wait on disk for the bus.")
SPOOL_RECORDS = gauge("agent_spool_batches", "Batches on disk that the bus has not confirmed.")
GENERATIONS = counter("agent_dictionary_generations", "Dictionaries started because the one before was full.")
CPU_SECONDS = gauge("agent_cpu_seconds", "CPU time of this process, all its threads, in seconds.")
MEMORY_BYTES = gauge("agent_memory_bytes", "Resident memory of this process in bytes.")
MAP_BYTES = gauge("agent_map_bytes", "Kernel memory locked by BPF maps, in bytes.")
NODES = gauge("agent_dictionary_nodes", "Call-tree nodes in the current dictionary.")

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
SPOOL_DAMAGED = gauge("agent_spool_damaged_files", "Damaged or half-written files of the spool, removed at the start.")
GENERATIONS = counter("agent_dictionary_generations", "Dictionaries started because the one before was full.")
STACKS_UNKNOWN = counter("agent_stacks_unknown", "Stacks met whose addresses the kernel had not sent.")
PROCESSES = gauge("agent_processes", "Processes that are kept track of.")
MAPPINGS = gauge("agent_mappings", "Executable mappings of these processes that are kept.")
PROCESSES_INHERITED = counter(
    "agent_processes_inherited", "Processes that had gone unread: environment is the parent's."
)
PROCESSES_UNKNOWN = counter("agent_processes_unknown", "Processes that were sampled and of which nothing is known.")
PROCESSES_EVICTED = counter("agent_processes_evicted", "Living processes forgotten because there were too many.")
MAPPINGS_DROPPED = counter("agent_mappings_dropped", "Mappings not kept because a process had too many.")
EVENTS = counter("agent_process_events", "Side-band records read: forks, execs, mappings, names, exits.")
EVENTS_LOST = counter("agent_process_events_lost", "Side-band records that a full ring dropped.")
CPU_SECONDS = gauge("agent_cpu_seconds", "CPU time of this process, all its threads, in seconds.")
MEMORY_BYTES = gauge("agent_memory_bytes", "Resident memory of this process in bytes.")
MAP_BYTES = gauge("agent_map_bytes", "Kernel memory of BPF maps and rings, in bytes.")
PROGRAM_SECONDS = gauge("agent_program_seconds", "CPU time of the BPF program, while kernel.bpf_stats_enabled is on.")
NODES = gauge("agent_dictionary_nodes", "Call-tree nodes in the current dictionary.")
SYMBOL_FAILURES = counter("agent_symbol_failures", "Addresses, files and names not resolved, by reason.", ["reason"])
SYMBOL_BYTES = gauge("agent_symbol_bytes", "Bytes of symbol tables and names held in memory.")
SYMBOL_IMAGES = gauge("agent_symbol_images", "ELF files whose symbols are held in memory.")

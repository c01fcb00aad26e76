"""Jobs of the workflow: log, events, threads, GPUs, saved states, and the status of a run."""

# Snakemake calls these handlers when a run begins and ends, but not in its jobs.


onstart:
    handlers.begin(workflow, plan)


onsuccess:
    handlers.end(workflow, plan, log)


onerror:
    handlers.end(workflow, plan, log, failed=True)

# Snakemake calls these handlers when a run begins and ends, but not in its jobs.

from soups.cost import space


onstart:
    handlers.begin(workflow, plan, [space.check])


onsuccess:
    handlers.end(workflow, plan, log)


onerror:
    handlers.end(workflow, plan, log, failed=True)

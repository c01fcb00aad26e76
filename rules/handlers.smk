# What happens when a run begins and ends. Jobs do not come by here.


onstart:
    handlers.begin(workflow, plan)


onsuccess:
    handlers.end(workflow, plan, log)


onerror:
    handlers.end(workflow, plan, log, failed=True)

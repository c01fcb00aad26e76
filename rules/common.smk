# The plan, and the few names that all stages share. Rules read the plan and compute nothing
# themselves. scripts/soups/experiment/plan.py describes it.
# On a cluster, profiles/needs.py has the time, memory, CPUs and group of a rule's jobs.

handlers.quote_interpreter()
try:
    handlers.refuse(workflow, sys.argv[1:])
    notes = settings.validate(
        config, f"{workflow.basedir}/rules/schemas/config.schema.yaml", workflow.configfiles
    )
    plan = Plan.of(config, notes)
    handlers.refuse_second(workflow, plan.results, sys.argv[1:])
except UserError as error:
    sys.exit(f"error: {error}")  # without a traceback, which Snakemake would print
R, S = plan.results, plan.shared  # folder of this experiment; folder of its data and starts
# Long jobs, and the jobs that they wait for, start before others. So no core idles at the end.
LONG = 50


wildcard_constraints:
    home="|".join(sorted({R, S})),
    model="|".join([*plan.ingredients, *plan.starts, *plan.soups]),
    ingredient="|".join(plan.ingredients),
    soup="|".join(plan.soups),
    ensemble="|".join(plan.ensembles) or NOTHING,
    set="|".join(["train", *plan.tests]),
    curve="|".join(plan.curves.models) or NOTHING,
    pairs="|".join(plan.curves.pairs) or NOTHING,


def table(name, caption=None):
    """A table as an output, which is shown in the report of Snakemake.

    `caption` is the name of its file in captions/tables, by default that of the table.
    """
    labels = {"table": name.replace("_", " ")}
    caption = f"captions/tables/{caption or name}.rst"
    return report(f"{R}/tables/{name}.csv", caption=caption, category="Tables", labels=labels)

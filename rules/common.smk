# The plan, and the few names that every stage shares. What the plan holds stands in
# scripts/soups/experiment/plan.py; rules read it and compute nothing themselves.
#
# A rule's `group` matters on a cluster alone: jobs of a group that depend on one another are one job
# there (profiles/slurm/config.yaml). Time, memory and CPUs of a cluster's jobs are in
# profiles/needs.py.

try:
    settings.validate(
        config, f"{workflow.basedir}/rules/schemas/config.schema.yaml", workflow.configfiles
    )
    plan = Plan.of(config)
except UserError as error:
    sys.exit(f"error: {error}")  # Snakemake would print a traceback below the sentence
R, S = plan.results, plan.shared  # this experiment's folder; the one that data and starts lie in


wildcard_constraints:
    home="|".join(sorted({R, S})),
    model="|".join([*plan.ingredients, *plan.starts, *plan.soups]),
    ingredient="|".join(plan.ingredients),
    soup="|".join(plan.soups),
    ensemble="|".join(plan.ensembles) or NOTHING,
    set="|".join(["train", *plan.tests]),
    curve="|".join(plan.curves.models) or NOTHING,
    pairs="|".join(plan.curves.pairs) or NOTHING,


def table(name):
    """A table as an output that Snakemake's report shows."""
    labels = {"table": name.replace("_", " ")}
    caption = f"captions/tables/{name}.rst"
    return report(f"{R}/tables/{name}.csv", caption=caption, category="Tables", labels=labels)

# Targets for `snakemake <target>`, one per stage: splits, pretrained, models, soups, tables and
# figures. The target `published` makes the paper's released results.


localrules:
    all,
    splits,
    pretrained,
    models,
    soups,
    tables,
    figures,
    published,


rule splits:
    input:
        f"{S}/splits/manifest.json",


rule pretrained:
    input:
        plan.pretrained,


rule models:
    input:
        [plan.weights(model) for model in [*plan.starts, *plan.ingredients]],


rule soups:
    input:
        [plan.weights(soup) for soup in plan.soups],


rule tables:
    input:
        expand(f"{R}/tables/{{table}}.csv", table=plan.all_tables),


rule figures:
    input:
        expand(f"{R}/figures/{{figure}}.{{ending}}", figure=plan.figures, ending=["png", "pdf"]),


rule published:
    input:
        expand(f"{PUBLISHED}/tables/{{table}}.csv", table=PUBLISHED_TABLES),
        expand(
            f"{PUBLISHED}/figures/{{figure}}.{{ending}}",
            figure=PUBLISHED_FIGURES,
            ending=["png", "pdf"],
        ),

# Named targets, one per stage: snakemake splits, models, soups, tables, figures, report,
# and `published`, the paper's released results.


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
        f"{S}/pretrained/model.safetensors",


rule models:
    input:
        [weights(model) for model in STARTS + INGREDIENTS],


rule soups:
    input:
        [weights(soup) for soup in SOUPS],


rule tables:
    input:
        expand(f"{R}/tables/{{table}}.csv", table=[*TABLES, *CURVE_TABLES, "claims"]),


rule figures:
    input:
        expand(f"{R}/figures/{{figure}}.{{ending}}", figure=FIGURES, ending=["png", "pdf"]),


rule published:
    input:
        expand(f"{PUBLISHED}/tables/{{table}}.csv", table=PUBLISHED_TABLES),
        expand(
            f"{PUBLISHED}/figures/{{figure}}.{{ending}}",
            figure=PUBLISHED_FIGURES,
            ending=["png", "pdf"],
        ),

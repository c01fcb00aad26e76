# Named targets, one per stage: snakemake splits, models, soups, tables, figures, report.


localrules:
    all,
    splits,
    pretrained,
    models,
    soups,
    tables,
    figures,


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
        rules.make_tables.output,
        [f"{R}/tables/greedy_trace.csv" for soup in SOUPS if soup == "greedy"],


rule figures:
    input:
        expand(f"{R}/figures/{{figure}}.{{ending}}", figure=FIGURES, ending=["png", "pdf"]),

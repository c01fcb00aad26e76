# The paper's released results as tables and figures: no data, no model, the same for every config.

PUBLISHED = "results/published"
if config["name"] == "published":
    raise UserError("name is 'published', expected another: the paper's own results go there")
PUBLISHED_TABLES = ["models", "methods", "differences", "greedy_order", "rank_correlations"]
PUBLISHED_FIGURES = {
    "scatter": {"models": "models", "methods": "methods"},
    "shifts": {"models": "models", "methods": "methods"},
    "sweep": {
        "models": "models",
        "correlations": "rank_correlations",
        "methods": "methods",
    },
    "greedy_order": {
        "order": "greedy_order",
        "correlations": "rank_correlations",
        "methods": "methods",
    },
}


rule published_tables:
    input:
        f"{workflow.basedir}/experiments/published/clip-vitb32-72.csv",
    output:
        **{
            table: report(
                f"{PUBLISHED}/tables/{table}.csv",
                caption=f"captions/tables/published_{table}.rst",
                category="Published results",
                labels={"table": table.replace("_", " ")},
            )
            for table in PUBLISHED_TABLES
        },
    log:
        f"{PUBLISHED}/logs/tables.log",
    benchmark:
        f"{PUBLISHED}/benchmarks/tables.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        stage=STAGE["tables"],
    script:
        "../scripts/published_tables.py"


for figure, tables in PUBLISHED_FIGURES.items():

    rule:
        name:
            f"plot_published_{figure}"
        input:
            **{key: f"{PUBLISHED}/tables/{table}.csv" for key, table in tables.items()},
        output:
            png=report(
                f"{PUBLISHED}/figures/{figure}.png",
                caption=f"captions/figures/published_{figure}.rst",
                category="Published results",
                labels={"figure": figure.replace("_", " ")},
            ),
            pdf=f"{PUBLISHED}/figures/{figure}.pdf",
        log:
            f"{PUBLISHED}/logs/plot_{figure}.log",
        benchmark:
            f"{PUBLISHED}/benchmarks/plot_{figure}.tsv"
        conda:
            "../envs/environment.yaml"
        threads: 1
        params:
            figure=f"published_{figure}",
            options={},
            stage=STAGE["figures"],
        script:
            "../scripts/plot.py"

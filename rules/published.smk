# Tables and figures of the paper's released results. They need no data and no model, and they are
# the same for every configuration.

PUBLISHED = "results/published"


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
    params:
        stage=plan.stage["tables"],
    script:
        "../scripts/published_tables.py"


use rule plot as plot_published with:
    input:
        unpack(lambda w: published_inputs(w.figure, PUBLISHED)),
    output:
        png=report(
            f"{PUBLISHED}/figures/{{figure}}.png",
            caption="captions/figure.rst",
            category="Published results",
            labels=lambda w: {"figure": w.figure.replace("_", " ")},
        ),
        pdf=f"{PUBLISHED}/figures/{{figure}}.pdf",
    log:
        f"{PUBLISHED}/logs/plot/{{figure}}.log",
    benchmark:
        f"{PUBLISHED}/benchmarks/plot/{{figure}}.tsv"
    wildcard_constraints:
        figure="|".join(PUBLISHED_FIGURES),
    params:
        figure=lambda w: PUBLISHED_FIGURES[w.figure].name,
        options={},
        roles=None,
        caption=lambda w, input: PUBLISHED_FIGURES[w.figure].caption,
        stage=plan.stage["figures"],

# The report is one self-contained page. `snakemake --report` makes Snakemake's own report, with the
# same captions.


rule report:
    input:
        **{
            name: f"{R}/tables/{name}.csv"
            for name in ("data", "real", "doctor", "doctor_summary")
            if name.removesuffix("_summary") in plan.tables
        },
        methods=f"{R}/tables/methods.csv",
        models=f"{R}/tables/models.csv",
        significance=f"{R}/tables/significance.csv",
        calibration=f"{R}/tables/calibration.csv",
        claims=f"{R}/tables/claims.csv",
        effects=f"{R}/tables/effects.csv",
        recipe=plan.greedy_recipe,
        figures=expand(f"{R}/figures/{{figure}}.png", figure=plan.figures),
        template=f"{workflow.basedir}/rules/captions/page.html",
    output:
        f"{R}/report.html",
    log:
        f"{R}/logs/report.log",
    benchmark:
        f"{R}/benchmarks/report.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        **plan.worded,
        name=config["name"],
        figures={name: figure.caption for name, figure in plan.figures.items()},
        roles=plan.roles,
        weights=plan.greedy_weights,
        stage=plan.stage["report"],
    script:
        "../scripts/report.py"

# One self-contained page. `snakemake --report` makes Snakemake's own, with the same captions.


rule report:
    input:
        **{name: f"{R}/tables/{name}.csv" for name in ("data", "real") if name in TABLES},
        methods=f"{R}/tables/methods.csv",
        calibration=f"{R}/tables/calibration.csv",
        claims=f"{R}/tables/claims.csv",
        effects=f"{R}/tables/effects.csv",
        figures=expand(f"{R}/figures/{{figure}}.png", figure=FIGURES),
        captions=expand(f"{workflow.basedir}/rules/captions/figures/{{figure}}.rst", figure=FIGURES),
        template=f"{workflow.basedir}/rules/captions/page.html",
    output:
        f"{R}/report.html",
    log:
        f"{R}/logs/report.log",
    benchmark:
        f"{R}/benchmarks/report.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        name=config["name"],
        figures=FIGURES,
        stage=STAGE["report"],
    script:
        "../scripts/report.py"

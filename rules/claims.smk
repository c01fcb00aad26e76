# The paper's claims are judged by the fixed rules of scripts/soups/claims/verdicts.py.


rule claims:
    input:
        tables=[plan.table(name) for name in plan.evidence],
        points=expand(f"{R}/curves/{{curve}}.safetensors", curve=plan.curves.tables),
        published=f"{workflow.basedir}/experiments/published/clip-vitb32-72.csv",
        paper=f"{workflow.basedir}/experiments/published/paper.csv",
        evidence=plan.recorded_evidence(workflow.basedir),
        weaker=list(plan.weaker.values()),
        replicates=plan.replicates,
    output:
        effects=table("effects"),
        claims=table("claims"),
    log:
        f"{R}/logs/claims.log",
    benchmark:
        f"{R}/benchmarks/claims.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        **plan.scored,
        **plan.worded,
        **plan.said,
        large_lr=config["curves"]["large_lr"],
        roles=plan.roles,
        weaker_roles=plan.weaker_roles,
        stage=plan.stage["claims"],
    script:
        "../scripts/claims.py"

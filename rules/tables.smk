# Tables are made from cached logits. These rules and those of figures run no model.


rule make_tables:
    input:
        **plan.all_logits,
    output:
        models=table("models"),
        methods=table("methods"),
        significance=table("significance"),
    log:
        f"{R}/logs/make_tables.log",
    benchmark:
        f"{R}/benchmarks/make_tables.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        **plan.scored,
        **plan.said,
        models=plan.models,
        tests=plan.tests,
        starts=plan.starts,
        sweep={m: plan.sweep.rows[m] for m in plan.evaluated},
        origin=plan.sweep.origin,
        soups=plan.soups,
        ensembles=plan.ensembles,
        references=plan.references,
        stage=plan.stage["tables"],
    script:
        "../scripts/make_tables.py"


rule calibration:
    input:
        **plan.all_logits,
        methods=f"{R}/tables/methods.csv",
    output:
        calibration=table("calibration"),
        reliability=f"{R}/tables/reliability.csv",
    log:
        f"{R}/logs/calibration.log",
    benchmark:
        f"{R}/benchmarks/calibration.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        models=plan.models,
        soups=plan.soups,
        stage=plan.stage["tables"],
    script:
        "../scripts/calibration.py"


rule trace_table:
    input:
        plan.greedy_recipe,
    output:
        table("greedy_trace"),
    log:
        f"{R}/logs/trace_table.log",
    benchmark:
        f"{R}/benchmarks/trace_table.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        **plan.said,
        stage=plan.stage["tables"],
    script:
        "../scripts/trace_table.py"


rule real_labels:
    input:
        **plan.all_logits,
        methods=f"{R}/tables/methods.csv",
        real=plan.real_labels,
    output:
        table("real"),
    log:
        f"{R}/logs/real_labels.log",
    benchmark:
        f"{R}/benchmarks/real_labels.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        models=plan.models,
        soups=plan.soups,
        classes=plan.folders.classes if plan.real_labels else None,
        stage=plan.stage["tables"],
    script:
        "../scripts/real_labels.py"


# Compares the accuracies with those that were published for the same models.
rule reproduction:
    input:
        models=f"{R}/tables/models.csv",
        methods=f"{R}/tables/methods.csv",
        published=plan.published,
    output:
        table("reproduction"),
    log:
        f"{R}/logs/reproduction.log",
    benchmark:
        f"{R}/benchmarks/reproduction.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        roles=plan.roles,
        stage=plan.stage["tables"],
    script:
        "../scripts/reproduction.py"

# The soup doctor: a verdict for every model of the sweep, from weights and held-out images alone.
# `snakemake doctor` makes its tables and its figure. A run that brings checkpoints has them in its
# report.


rule diagnose:
    input:
        **plan.heldout,
        weights=[plan.weights(m) for m in plan.base],
        logits=[plan.heldout_logits(m) for m in plan.base],
        start=[plan.weights(m) for m in plan.examined_start],
        start_logits=[plan.heldout_logits(m) for m in plan.examined_start if m in plan.starts],
    output:
        doctor=table("doctor"),
        summary=f"{R}/tables/doctor_summary.csv",
    log:
        f"{R}/logs/diagnose.log",
    benchmark:
        f"{R}/benchmarks/diagnose.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=plan.gpus,
    params:
        **plan.said,
        models=plan.base,
        recalibrate=config["model"]["recalibrate_batch_norm"],
        stage=[plan.stage["soups"], plan.stage["doctor"]],
    script:
        "../scripts/diagnose.py"


rule doctor:
    input:
        f"{R}/tables/doctor.csv",
        f"{R}/tables/doctor_summary.csv",
        multiext(f"{R}/figures/doctor", ".png", ".pdf"),
    localrule: True

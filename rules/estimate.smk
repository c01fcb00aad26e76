# The cost of the experiment, estimated before it runs from a short measurement of this machine. The
# estimate needs no prepared data and no weights. If you give finetune other threads with
# `--set-threads`, give estimate_cost the same number.


rule estimate_cost:
    output:
        table=table("estimate"),
        text=f"{R}/tables/estimate.txt",
    log:
        f"{R}/logs/estimate_cost.log",
    benchmark:
        f"{R}/benchmarks/estimate_cost.tsv"
    conda:
        "../envs/environment.yaml"
    threads: plan.readers * config["compute"]["gpus"]
    resources:
        gpu=plan.gpus * config["compute"]["gpus"],
    params:
        **plan.estimated,
        stage=1,
    script:
        "../scripts/estimate_cost.py"


rule estimate:
    input:
        f"{R}/tables/estimate.txt",
    log:
        f"{R}/logs/estimate.log",
    localrule: True
    conda:
        "../envs/environment.yaml"
    shell:
        "cat {input} | tee {log}"

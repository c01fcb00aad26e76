# What the experiment will cost, before it runs: no data, no weights, nothing but a short probe of
# this machine. If fine-tunes get other threads (`--set-threads`), so should estimate_cost.


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

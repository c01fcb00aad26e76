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
    threads: READERS * config["compute"]["gpus"]
    resources:
        gpu=GPUS * config["compute"]["gpus"],
    params:
        data=DATA,
        architecture=config["model"]["architecture"],
        probe=config["probe"],
        compute=config["compute"],
        tasks=TASKS,
        unseen=UNSEEN,
        corpus=config["pretrain"]["images"] if settings.uses_corpus(config) else 0,
        plan={
            "source": DATA["source"],
            "store": STORE,
            "shared": bool(config["shared"]),
            "ready_made": bool(CHECKPOINTS),
            "pretrain_epochs": config["pretrain"]["epochs"],
            "probe_epochs": config["probe"]["epochs"],
            "recalibrate": RECALIBRATE,
            "rows": SWEEP,
            "base": list(BASE),
            "starts": STARTS,
            "evaluated": len(EVALUATED),
            "soups": SOUPS,
            "ensembles": ENSEMBLES,
            "curves": CURVES,
            "ends": len(ENDS),
            "large": len(LARGE),
            "slices": [len(models) for models in SLICES.values()],
            # One by one, then in twos, and so on; see plan_tasks.
            "task_points": 2 ** len({SWEEP[m]["task"] for m in OF_TASKS}) if OF_TASKS else 0,
            "pairs": {
                name: {
                    "pairs": len(pairs),
                    "inner": len(ALPHAS[name]) - 2,
                    "gap": name == "paths",
                    "not_evaluated": len(set(PAIRED[name]).difference(EVALUATED)),
                }
                for name, pairs in PAIRS.items()
            },
            "panels": len(PANELS),
        },
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

# Tables from cached logits; no model runs from here on.

MODELS = [*STARTS, *INGREDIENTS, *SOUPS, *ENSEMBLES]
LOGITS = {  # what is known of every model
    "sets": expand(f"{S}/prepared/{{set}}.json", set=TESTS),
    "labels": expand(f"{S}/prepared/{{set}}.labels.npy", set=TESTS),
    "train_labels": f"{S}/prepared/train.labels.npy",
    "heldout": f"{S}/splits/heldout.npy",
    "heldout_logits": [heldout_logits(m) for m in MODELS],
    "test_logits": [f for m in MODELS for f in test_logits(m)],
    "recipes": expand(f"{R}/recipes/{{soup}}.json", soup=SOUPS),
    "ensembles": expand(f"{R}/ensembles/{{ensemble}}.json", ensemble=ENSEMBLES),
}
# Each has a caption of its name in rules/captions.
TABLES = ["models", "methods", "significance", "calibration"]
TABLES += ["greedy_trace"] if SOUPS.get("greedy", {}).get("method") == "greedy" else []


rule make_tables:
    input:
        **LOGITS,
    output:
        models=table("models"),
        methods=table("methods"),
        significance=table("significance"),
    log:
        f"{R}/logs/tables.log",
    benchmark:
        f"{R}/benchmarks/tables.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        models=MODELS,
        tests=TESTS,
        starts=STARTS,
        sweep=SWEEP,
        origin=ORIGIN,
        soups=SOUPS,
        ensembles=ENSEMBLES,
        stage=STAGE["tables"],
    script:
        "../scripts/tables.py"


rule calibration:
    input:
        **LOGITS,
        methods=f"{R}/tables/methods.csv",
    output:
        table("calibration"),
    log:
        f"{R}/logs/calibration.log",
    benchmark:
        f"{R}/benchmarks/calibration.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        models=MODELS,
        soups=SOUPS,
        stage=STAGE["tables"],
    script:
        "../scripts/calibration.py"


rule trace_table:
    input:
        f"{R}/recipes/greedy.json",
    output:
        table("greedy_trace"),
    log:
        f"{R}/logs/trace_table.log",
    benchmark:
        f"{R}/benchmarks/trace_table.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        stage=STAGE["tables"],
    script:
        "../scripts/trace_table.py"

# Tables from cached logits; no model runs from here on.

MODELS = [*STARTS, *EVALUATED, *SOUPS, *ENSEMBLES]
LOGITS = {  # what is known of every model
    "sets": expand(f"{S}/prepared/{{set}}.json", set=TESTS),
    "labels": expand(f"{S}/prepared/{{set}}.labels.npy", set=TESTS),
    "heldout_labels": f"{S}/prepared/heldout.labels.npy",
    "heldout_logits": [heldout_logits(m) for m in MODELS],
    "test_logits": [f for m in MODELS for f in test_logits(m)],
    "recipes": expand(f"{R}/recipes/{{soup}}.json", soup=SOUPS),
    "ensembles": expand(f"{R}/ensembles/{{ensemble}}.json", ensemble=ENSEMBLES),
}
ROWS = ["best_individual", "second_best"][: len(BASE)]  # of the methods table
ROWS += [entry["row"] for entry in [*SOUPS.values(), *ENSEMBLES.values()]] + STARTS
REFERENCES = catalog.references(
    config["compare_with"], [config["soups"], config["ensembles"]], ROWS
)
# Each has a caption of its name in rules/captions.
TABLES = ["models", "methods", "significance", "calibration"]
# The trace of the first soup that the greedy rule made.
GREEDY = [name for name, entry in SOUPS.items() if entry["method"] == "greedy"][:1]
TABLES += ["greedy_trace"] if GREEDY else []
TABLES += ["data"] if DATA["source"] == "folders" else []
REAL = DATA["source"] == "folders" and FOLDERS["real"]
TABLES += ["real"] if REAL else []
TABLES += ["reproduction"] if config["published"] else []


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
        sweep={m: SWEEP[m] for m in EVALUATED},
        origin=ORIGIN,
        soups=SOUPS,
        ensembles=ENSEMBLES,
        references=REFERENCES,
        stage=STAGE["tables"],
    script:
        "../scripts/make_tables.py"


rule calibration:
    input:
        **LOGITS,
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
    threads: 1
    params:
        models=MODELS,
        soups=SOUPS,
        stage=STAGE["tables"],
    script:
        "../scripts/calibration.py"


rule trace_table:
    input:
        [recipe_of(soup) for soup in GREEDY],
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


rule real_labels:
    input:
        **LOGITS,
        methods=f"{R}/tables/methods.csv",
        real=[f"{FOLDERS['root']}/{REAL}"] if REAL else [],
    output:
        table("real"),
    log:
        f"{R}/logs/real_labels.log",
    benchmark:
        f"{R}/benchmarks/real_labels.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        models=MODELS,
        soups=SOUPS,
        classes=folders.training_classes(FOLDERS) if REAL else None,
        stage=STAGE["tables"],
    script:
        "../scripts/real_labels.py"


# Beside the accuracies that somebody else published of the same models.
rule reproduction:
    input:
        models=f"{R}/tables/models.csv",
        methods=f"{R}/tables/methods.csv",
        published=[config["published"]] if config["published"] else [],
    output:
        table("reproduction"),
    log:
        f"{R}/logs/reproduction.log",
    benchmark:
        f"{R}/benchmarks/reproduction.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        stage=STAGE["tables"],
    script:
        "../scripts/reproduction.py"

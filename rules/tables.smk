# Tables from cached logits; no model runs from here on.


rule make_tables:
    input:
        sets=expand(f"{S}/prepared/{{set}}.json", set=TESTS),
        labels=expand(f"{S}/prepared/{{set}}.labels.npy", set=TESTS),
        train_labels=f"{S}/prepared/train.labels.npy",
        heldout=f"{S}/splits/heldout.npy",
        heldout_logits=[heldout_logits(m) for m in STARTS + INGREDIENTS + SOUPS],
        test_logits=[f for m in STARTS + INGREDIENTS + SOUPS for f in test_logits(m)],
        recipes=expand(f"{R}/recipes/{{soup}}.json", soup=SOUPS),
    output:
        models=report(
            f"{R}/tables/models.csv",
            caption="captions/models.rst",
            category="Tables",
            labels={"table": "models"},
        ),
        methods=report(
            f"{R}/tables/methods.csv",
            caption="captions/methods.rst",
            category="Tables",
            labels={"table": "methods"},
        ),
    log:
        f"{R}/logs/tables.log",
    benchmark:
        f"{R}/benchmarks/tables.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        tests=TESTS,
        starts=STARTS,
        sweep=SWEEP,
        soups=SOUPS,
        stage=STAGE["tables"],
    script:
        "../scripts/tables.py"


rule trace_table:
    input:
        f"{R}/recipes/greedy.json",
    output:
        report(
            f"{R}/tables/greedy_trace.csv",
            caption="captions/greedy_trace.rst",
            category="Tables",
            labels={"table": "greedy trace"},
        ),
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

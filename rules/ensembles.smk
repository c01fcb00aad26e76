# Ensembles, from the logits of their members: chosen on the held-out set, then averaged.


rule choose_ensemble:
    input:
        labels=f"{S}/prepared/heldout.labels.npy",
        logits=lambda w: [heldout_logits(m) for m in ENSEMBLES[w.ensemble]["ingredients"]],
        made=lambda w: [recipe_of(soup) for soup in sources(ENSEMBLES[w.ensemble])],
    output:
        members=f"{R}/ensembles/{{ensemble}}.json",
        heldout=f"{R}/ensembles/{{ensemble}}.heldout.npy",
    log:
        f"{R}/logs/choose_ensemble/{{ensemble}}.log",
    benchmark:
        f"{R}/benchmarks/choose_ensemble/{{ensemble}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        entry=lambda w: ENSEMBLES[w.ensemble],
        stage=STAGE["ensembles"],
    script:
        "../scripts/choose_ensemble.py"


rule average_logits:
    input:
        members=f"{R}/ensembles/{{ensemble}}.json",
        logits=lambda w: [f for m in ENSEMBLES[w.ensemble]["ingredients"] for f in test_logits(m)],
    output:
        expand(f"{R}/logits/{{{{ensemble}}}}/{{set}}.npy", set=TESTS),
    log:
        f"{R}/logs/average_logits/{{ensemble}}.log",
    benchmark:
        f"{R}/benchmarks/average_logits/{{ensemble}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        stage=STAGE["ensembles"],
    script:
        "../scripts/average_logits.py"

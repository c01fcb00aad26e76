# Ensembles average the logits of members that are chosen on the held-out set.


rule choose_ensemble:
    input:
        labels=f"{S}/prepared/heldout.labels.npy",
        logits=lambda w: [plan.heldout_logits(m) for m in plan.ensembles[w.ensemble]["ingredients"]],
        made=lambda w: plan.recipes_of(plan.ensembles[w.ensemble]),
    output:
        members=f"{R}/ensembles/{{ensemble}}.json",
        heldout=f"{R}/ensembles/{{ensemble}}.heldout.npy",
    log:
        f"{R}/logs/choose_ensemble/{{ensemble}}.log",
    benchmark:
        f"{R}/benchmarks/choose_ensemble/{{ensemble}}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        **plan.scored,
        entry=lambda w: plan.ensembles[w.ensemble],
        stage=plan.stage["ensembles"],
    script:
        "../scripts/choose_ensemble.py"


rule average_logits:
    input:
        members=f"{R}/ensembles/{{ensemble}}.json",
        logits=lambda w: plan.test_logits(plan.ensembles[w.ensemble]["ingredients"]),
    output:
        expand(f"{R}/logits/{{{{ensemble}}}}/{{set}}.npy", set=plan.tests),
    log:
        f"{R}/logs/average_logits/{{ensemble}}.log",
    benchmark:
        f"{R}/benchmarks/average_logits/{{ensemble}}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        stage=plan.stage["ensembles"],
    script:
        "../scripts/average_logits.py"

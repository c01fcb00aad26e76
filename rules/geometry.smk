# Lines between two fine-tuned models, and planes through two models and their start. Their points
# are planned from weights alone, and then evaluated on a part of every set.


rule plan_pairs:
    input:
        starts=lambda w: [plan.weights(m) for m in plan.sweep.started(plan.curves.paired(w.pairs))],
        weights=lambda w: [plan.weights(m) for m in plan.curves.paired(w.pairs)],
    output:
        f"{R}/curves/{{pairs}}.json",
    log:
        f"{R}/logs/plan_pairs/{{pairs}}.log",
    benchmark:
        f"{R}/benchmarks/plan_pairs/{{pairs}}.tsv"
    priority: LONG
    conda:
        "../envs/environment.yaml"
    params:
        models=lambda w: plan.curves.paired(w.pairs),
        pairs=lambda w: plan.curves.pairs[w.pairs],
        starts=lambda w: plan.sweep.started(plan.curves.paired(w.pairs)),
        origins=lambda w: plan.sweep.starts_of(plan.curves.paired(w.pairs)),
        stage=plan.stage["curves"],
    script:
        "../scripts/plan_pairs.py"


rule evaluate_pairs:
    input:
        **plan.heldout,
        **plan.test_sets,
        plan=f"{R}/curves/{{pairs}}.json",
        weights=lambda w: [plan.weights(m) for m in plan.curves.paired(w.pairs)],
        logits=lambda w: plan.test_logits(
            m for m in plan.curves.paired(w.pairs) if m in plan.evaluated
        ),
    output:
        table=f"{R}/tables/{{pairs}}.csv",
        points=f"{R}/curves/{{pairs}}.safetensors",
    log:
        f"{R}/logs/evaluate_pairs/{{pairs}}.log",
    benchmark:
        f"{R}/benchmarks/evaluate_pairs/{{pairs}}.tsv"
    priority: LONG
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=plan.gpus,
    params:
        **plan.scored,
        models=lambda w: plan.curves.paired(w.pairs),
        alphas=lambda w: plan.curves.alphas[w.pairs],
        gap=lambda w: plan.curves.has_gap(w.pairs),
        images=config["curves"]["images"],
        recalibrate=config["model"]["recalibrate_batch_norm"],
        inference=config["compute"]["inference"],
        stage=[
            plan.stage["evaluate"],
            plan.stage["soups"],
            plan.stage["ensembles"],
            plan.stage["curves"],
        ],
    script:
        "../scripts/evaluate_pairs.py"


rule plan_landscape:
    input:
        weights=[plan.weights(m) for m in plan.curves.in_planes],
    output:
        f"{R}/curves/landscape.json",
    log:
        f"{R}/logs/plan_landscape.log",
    benchmark:
        f"{R}/benchmarks/plan_landscape.tsv"
    priority: LONG
    conda:
        "../envs/environment.yaml"
    params:
        models=plan.curves.in_planes,
        panels=plan.curves.panels,
        lr={m: plan.sweep.rows[m].get("lr") for m in plan.curves.in_planes if m in plan.sweep.rows},
        points=config["curves"]["landscape"]["points"],
        stage=plan.stage["curves"],
    script:
        "../scripts/plan_landscape.py"


rule evaluate_landscape:
    input:
        **plan.heldout,
        plan=f"{R}/curves/landscape.json",
        weights=[plan.weights(m) for m in plan.curves.in_planes],
        test=plan.set_files("test"),
    output:
        f"{R}/tables/landscape.csv",
    log:
        f"{R}/logs/evaluate_landscape.log",
    benchmark:
        f"{R}/benchmarks/evaluate_landscape.tsv"
    priority: LONG
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=plan.gpus,
    params:
        **plan.scored,
        models=plan.curves.in_planes,
        images=config["curves"]["landscape"]["images"],
        recalibrate=config["model"]["recalibrate_batch_norm"],
        inference=config["compute"]["inference"],
        stage=[plan.stage["evaluate"], plan.stage["soups"], plan.stage["curves"]],
    script:
        "../scripts/evaluate_landscape.py"

# Curves are series of recipes that are evaluated without being written, such as lines through
# weight space and soups of growing sweeps. They are planned on the held-out set, and most are
# evaluated on a part of the test set and of every shift.


rule plan_wise_ft:
    input:
        **plan.heldout,
        weights=[plan.weights(m) for m in plan.base],
        logits=[plan.heldout_logits(m) for m in plan.base],
    output:
        f"{R}/curves/wise_ft.json",
    log:
        f"{R}/logs/plan_wise_ft.log",
    benchmark:
        f"{R}/benchmarks/plan_wise_ft.tsv"
    priority: LONG
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=plan.gpus,
    params:
        **plan.scored,
        entry=plan.entry(),
        recalibrate=config["model"]["recalibrate_batch_norm"],
        soups=plan.curves.soups,
        ends=plan.curves.ends,
        alphas=config["curves"]["wise_ft"]["alphas"],
        stage=plan.stage["curves"],
    script:
        "../scripts/plan_wise_ft.py"


rule plan_number_of_models:
    input:
        **plan.heldout,
        weights=[plan.weights(m) for m in plan.base],
        logits=[plan.heldout_logits(m) for m in plan.base],
    output:
        f"{R}/curves/number_of_models.json",
    log:
        f"{R}/logs/plan_number_of_models.log",
    benchmark:
        f"{R}/benchmarks/plan_number_of_models.tsv"
    priority: LONG
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=plan.gpus,
    params:
        **plan.scored,
        entry=plan.entry(),
        recalibrate=config["model"]["recalibrate_batch_norm"],
        orders=config["curves"]["number_of_models"],
        stage=[plan.stage["soups"], plan.stage["curves"]],
    script:
        "../scripts/plan_number_of_models.py"


rule plan_heldout_size:
    input:
        **plan.heldout,
        weights=[plan.weights(m) for m in plan.base],
        logits=[plan.heldout_logits(m) for m in plan.base],
    output:
        f"{R}/curves/heldout_size.json",
    log:
        f"{R}/logs/plan_heldout_size.log",
    benchmark:
        f"{R}/benchmarks/plan_heldout_size.tsv"
    priority: LONG
    conda:
        "../envs/environment.yaml"
    resources:
        mem_mb=round(2000 + 1024 * (plan.learned or {}).get("memory_gb", 0)),
        gpu=plan.gpus,
    params:
        **plan.scored,
        entry=plan.entry(),
        recalibrate=config["model"]["recalibrate_batch_norm"],
        sizes=config["curves"]["heldout_size"],
        learned=plan.learned,
        stage=[plan.stage["soups"], plan.stage["curves"]],
    script:
        "../scripts/plan_heldout_size.py"


rule plan_large_lr:
    input:
        **plan.heldout,
        starts=[plan.weights(m) for m in plan.sweep.started(plan.curves.with_large)],
        weights=[plan.weights(m) for m in plan.curves.with_large],
        logits=[plan.heldout_logits(m) for m in plan.curves.with_large],
    output:
        plan=f"{R}/curves/large_lr.json",
        table=f"{R}/tables/rejection.csv",
    log:
        f"{R}/logs/plan_large_lr.log",
    benchmark:
        f"{R}/benchmarks/plan_large_lr.tsv"
    priority: LONG
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=plan.gpus,
    params:
        **plan.scored,
        entry=plan.entry(plan.curves.with_large),
        recalibrate=config["model"]["recalibrate_batch_norm"],
        large=plan.curves.large,
        lr={m: plan.sweep.rows[m].get("lr") for m in plan.curves.with_large},
        starts=plan.sweep.started(plan.curves.with_large),
        origins=plan.sweep.starts_of(plan.curves.with_large),
        stage=[plan.stage["soups"], plan.stage["curves"]],
    script:
        "../scripts/plan_large_lr.py"


rule plan_slices:
    input:
        **plan.heldout,
        weights=lambda w: [plan.weights(m) for m in plan.curves.models["slices"]],
        logits=lambda w: [plan.heldout_logits(m) for m in plan.curves.models["slices"]],
    output:
        f"{R}/curves/slices.json",
    log:
        f"{R}/logs/plan_slices.log",
    benchmark:
        f"{R}/benchmarks/plan_slices.tsv"
    priority: LONG
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=plan.gpus,
    params:
        **plan.scored,
        entry=plan.entry(plan.curves.models.get("slices")),
        recalibrate=config["model"]["recalibrate_batch_norm"],
        slices=plan.curves.slices,
        stage=[plan.stage["soups"], plan.stage["curves"]],
    script:
        "../scripts/plan_slices.py"


rule plan_tasks:
    input:
        weights=[plan.weights(m) for m in plan.curves.tasks],
    output:
        f"{R}/curves/tasks.json",
    log:
        f"{R}/logs/plan_tasks.log",
    benchmark:
        f"{R}/benchmarks/plan_tasks.tsv"
    priority: LONG
    conda:
        "../envs/environment.yaml"
    params:
        tasks={m: plan.sweep.rows[m].get("task") for m in plan.curves.tasks},
        start=plan.sweep.started(plan.curves.tasks),
        options={"with_start": config["curves"]["tasks"]["with_start"]},
        stage=plan.stage["curves"],
    script:
        "../scripts/plan_tasks.py"


rule evaluate_curve:
    input:
        **plan.heldout,
        **plan.test_sets,
        train=f"{S}/prepared/train.json",
        plan=f"{R}/curves/{{curve}}.json",
        weights=lambda w: [plan.weights(m) for m in plan.curves.models[w.curve]],
        logits=lambda w: plan.test_logits(plan.curves.members(w.curve)),
    output:
        table=f"{R}/tables/{{curve}}.csv",
        points=f"{R}/curves/{{curve}}.safetensors",
    log:
        f"{R}/logs/evaluate_curve/{{curve}}.log",
    benchmark:
        f"{R}/benchmarks/evaluate_curve/{{curve}}.tsv"
    priority: LONG
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=plan.gpus,
    params:
        **plan.scored,
        models=lambda w: plan.curves.models[w.curve],
        recalibrate=config["model"]["recalibrate_batch_norm"],
        inference=config["compute"]["inference"],
        images=lambda w: plan.curves.images(w.curve),
        classes=lambda w: plan.tasks[plan.curves.unseen] if w.curve == "tasks" else None,
        stage=[
            plan.stage["evaluate"],
            plan.stage["soups"],
            plan.stage["ensembles"],
            plan.stage["curves"],
        ],
    script:
        "../scripts/evaluate_curve.py"

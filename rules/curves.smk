# Series of recipes that are evaluated without being written: lines through weight space, and
# soups of growing sweeps. Planned on the held-out set, evaluated on a part of every test set.

CURVES = config["curves"]
BASE_ORIGINS = {ORIGINS[m] for m in BASE}
ENDS = catalog.curve_ends(CURVES["wise_ft"]["of"], config["soups"], SOUPS, BASE_ORIGINS)
CURVE_SOUPS = [name for name in ENDS if name in SOUPS]
LARGE = [m for m in INGREDIENTS if m not in BASE and SWEEP[m]["lr"] >= CURVES["large_lr"]]
LARGE = [m for m in LARGE if ORIGIN[m][1] in CURVES["paths"]["variants"]]
SLICES = {  # slice: its models
    name: pool(spec["variants"], spec.get("query"), f"curves.slices.{name}")
    for name, spec in CURVES["slices"].items()
    if spec
}
OF_TASKS = of_variants(CURVES["tasks"]["variants"], "curves.tasks")
UNSEEN = CURVES["tasks"]["unseen"]
if OF_TASKS and UNSEEN not in TASKS:
    known = ", ".join(TASKS) or "those that the tasks section defines, which has none"
    raise UserError(f"curves.tasks.unseen is {UNSEEN!r}, expected one of {known}")
for m in OF_TASKS:
    if seen := set(TASKS[UNSEEN]).intersection(TASKS.get(SWEEP[m]["task"], TASKS[UNSEEN])):
        raise UserError(
            f"curves.tasks: {m} is fine-tuned on task {SWEEP[m]['task']!r} and has seen "
            f"{sorted(seen)[0]!r} of {UNSEEN!r}, expected models of tasks without its classes"
        )
ON_CURVE = {  # curve: the models its points are made of
    **({"wise_ft": [*sorted(set(ENDS.values())), *BASE, *CURVE_SOUPS]} if ENDS else {}),
    **({"number_of_models": list(BASE)} if CURVES["number_of_models"] else {}),
    **({"large_lr": [*BASE, *LARGE]} if LARGE else {}),
    **({"slices": list(dict.fromkeys(sum(SLICES.values(), [])))} if SLICES else {}),
    **({"tasks": [*started(OF_TASKS), *OF_TASKS]} if OF_TASKS else {}),
}
# On these, differences are small: they are evaluated on all images.
PRECISE = {"slices", "tasks"}
MEMBERS = {"number_of_models": list(BASE)}  # curves with ensembles on them


rule plan_wise_ft:
    input:
        **HELDOUT,
        weights=[weights(m) for m in BASE],
        logits=[heldout_logits(m) for m in BASE],
    output:
        f"{R}/curves/wise_ft.json",
    log:
        f"{R}/logs/plan_wise_ft.log",
    benchmark:
        f"{R}/benchmarks/plan_wise_ft.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=GPUS,
    params:
        entry=BASE_ENTRY,
        recalibrate=RECALIBRATE,
        soups=CURVE_SOUPS,
        ends=ENDS,
        alphas=CURVES["wise_ft"]["alphas"],
        stage=STAGE["curves"],
    script:
        "../scripts/plan_wise_ft.py"


rule plan_number_of_models:
    input:
        **HELDOUT,
        weights=[weights(m) for m in BASE],
        logits=[heldout_logits(m) for m in BASE],
    output:
        f"{R}/curves/number_of_models.json",
    log:
        f"{R}/logs/plan_number_of_models.log",
    benchmark:
        f"{R}/benchmarks/plan_number_of_models.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=GPUS,
    params:
        entry=BASE_ENTRY,
        recalibrate=RECALIBRATE,
        orders=CURVES["number_of_models"],
        stage=[STAGE["soups"], STAGE["curves"]],
    script:
        "../scripts/plan_number_of_models.py"


rule plan_large_lr:
    input:
        **HELDOUT,
        starts=[weights(m) for m in started([*BASE, *LARGE])],
        weights=[weights(m) for m in [*BASE, *LARGE]],
        logits=[heldout_logits(m) for m in [*BASE, *LARGE]],
    output:
        plan=f"{R}/curves/large_lr.json",
        table=f"{R}/tables/rejection.csv",
    log:
        f"{R}/logs/plan_large_lr.log",
    benchmark:
        f"{R}/benchmarks/plan_large_lr.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=GPUS,
    params:
        entry=BASE_ENTRY | {"ingredients": [*BASE, *LARGE]},
        recalibrate=RECALIBRATE,
        large=LARGE,
        lr={m: SWEEP[m]["lr"] for m in [*BASE, *LARGE]},
        starts=started([*BASE, *LARGE]),
        origins=origins([*BASE, *LARGE]),
        stage=[STAGE["soups"], STAGE["curves"]],
    script:
        "../scripts/plan_large_lr.py"


rule plan_slices:
    input:
        **HELDOUT,
        weights=lambda w: [weights(m) for m in ON_CURVE["slices"]],
        logits=lambda w: [heldout_logits(m) for m in ON_CURVE["slices"]],
    output:
        f"{R}/curves/slices.json",
    log:
        f"{R}/logs/plan_slices.log",
    benchmark:
        f"{R}/benchmarks/plan_slices.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=GPUS,
    params:
        entry=BASE_ENTRY | {"ingredients": ON_CURVE.get("slices")},
        recalibrate=RECALIBRATE,
        slices=SLICES,
        stage=[STAGE["soups"], STAGE["curves"]],
    script:
        "../scripts/plan_slices.py"


rule plan_tasks:
    output:
        f"{R}/curves/tasks.json",
    log:
        f"{R}/logs/plan_tasks.log",
    benchmark:
        f"{R}/benchmarks/plan_tasks.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        tasks={m: SWEEP[m]["task"] for m in OF_TASKS},
        start=started(OF_TASKS),
        stage=STAGE["curves"],
    script:
        "../scripts/plan_tasks.py"


rule evaluate_curve:
    input:
        **HELDOUT,
        train=f"{S}/prepared/train.json",
        plan=f"{R}/curves/{{curve}}.json",
        weights=lambda w: [weights(m) for m in ON_CURVE[w.curve]],
        logits=lambda w: [f for m in MEMBERS.get(w.curve, []) for f in test_logits(m)],
        sets=expand(f"{S}/prepared/{{set}}.npy", set=TESTS),
        labels=expand(f"{S}/prepared/{{set}}.labels.npy", set=TESTS),
        meta=expand(f"{S}/prepared/{{set}}.json", set=TESTS),
    output:
        table=f"{R}/tables/{{curve}}.csv",
        points=f"{R}/curves/{{curve}}.safetensors",
    log:
        f"{R}/logs/evaluate_curve/{{curve}}.log",
    benchmark:
        f"{R}/benchmarks/evaluate_curve/{{curve}}.tsv"
    wildcard_constraints:
        curve="|".join(ON_CURVE) or NOTHING,
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=GPUS,
    params:
        models=lambda w: ON_CURVE[w.curve],
        recalibrate=RECALIBRATE,
        inference=INFERENCE,
        images=lambda w: CURVES["images"] if w.curve not in PRECISE else None,
        classes=lambda w: TASKS[UNSEEN] if w.curve == "tasks" else None,
        stage=[STAGE["evaluate"], STAGE["soups"], STAGE["ensembles"], STAGE["curves"]],
    script:
        "../scripts/evaluate_curve.py"

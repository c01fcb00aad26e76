# How fine-tuned models lie to each other: between two of them, and in the plane with their start.
# Pairs and planes are laid by weights alone, then evaluated on a part of every set.

PATHS = CURVES["paths"]
PAIRS = {
    # Pairs of the sweep's own ingredients; and pairs that differ in one hyperparameter only.
    "pairs": variants.pairs(BASE, ORIGINS, CURVES["pairs"]),
    "paths": variants.pairs(
        {m: SWEEP[m] for m in of_variants(PATHS["variants"], "curves.paths")}, ORIGINS, single=True
    ),
}
PAIRS = {name: pairs for name, pairs in PAIRS.items() if pairs}
PAIRED = {  # the models in them
    name: list(dict.fromkeys(pair[end] for pair in pairs for end in ("model_1", "model_2")))
    for name, pairs in PAIRS.items()
}
ALPHAS = {"pairs": [0, 0.5, 1], "paths": [i / PATHS["steps"] for i in range(PATHS["steps"] + 1)]}
PANELS = {  # panel of the landscape: start, two models
    variant: [ORIGINS[models[0]], *models]
    for variant in CURVES["landscape"]["variants"]
    for models in [of_variants([variant], "curves.landscape")[:2]]
    if len({str(SWEEP[m]) for m in models}) == 2 and len({ORIGINS[m] for m in models}) == 1
}
IN_PLANES = list(dict.fromkeys(m for panel in PANELS.values() for m in panel))


rule plan_pairs:
    input:
        starts=lambda w: [weights(m) for m in started(PAIRED[w.pairs])],
        weights=lambda w: [weights(m) for m in PAIRED[w.pairs]],
    output:
        f"{R}/curves/{{pairs}}.json",
    log:
        f"{R}/logs/plan_pairs/{{pairs}}.log",
    benchmark:
        f"{R}/benchmarks/plan_pairs/{{pairs}}.tsv"
    wildcard_constraints:
        pairs="|".join(PAIRS) or NOTHING,
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        models=lambda w: PAIRED[w.pairs],
        pairs=lambda w: PAIRS[w.pairs],
        starts=lambda w: started(PAIRED[w.pairs]),
        origins=lambda w: origins(PAIRED[w.pairs]),
        stage=STAGE["curves"],
    script:
        "../scripts/plan_pairs.py"


rule evaluate_pairs:
    input:
        **HELDOUT,
        plan=f"{R}/curves/{{pairs}}.json",
        weights=lambda w: [weights(m) for m in PAIRED[w.pairs]],
        logits=lambda w: [f for m in PAIRED[w.pairs] if m in EVALUATED for f in test_logits(m)],
        sets=expand(f"{S}/prepared/{{set}}.npy", set=TESTS),
        set_labels=expand(f"{S}/prepared/{{set}}.labels.npy", set=TESTS),
        meta=expand(f"{S}/prepared/{{set}}.json", set=TESTS),
    output:
        table=f"{R}/tables/{{pairs}}.csv",
        points=f"{R}/curves/{{pairs}}.safetensors",
    log:
        f"{R}/logs/evaluate_pairs/{{pairs}}.log",
    benchmark:
        f"{R}/benchmarks/evaluate_pairs/{{pairs}}.tsv"
    wildcard_constraints:
        pairs="|".join(PAIRS) or NOTHING,
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=GPUS,
    params:
        models=lambda w: PAIRED[w.pairs],
        alphas=lambda w: ALPHAS[w.pairs],
        gap=lambda w: w.pairs == "paths",
        images=CURVES["images"],
        recalibrate=RECALIBRATE,
        inference=INFERENCE,
        stage=[STAGE["evaluate"], STAGE["soups"], STAGE["ensembles"], STAGE["curves"]],
    script:
        "../scripts/evaluate_pairs.py"


rule plan_landscape:
    input:
        weights=[weights(m) for m in IN_PLANES],
    output:
        f"{R}/curves/landscape.json",
    log:
        f"{R}/logs/plan_landscape.log",
    benchmark:
        f"{R}/benchmarks/plan_landscape.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        models=IN_PLANES,
        panels=PANELS,
        lr={m: SWEEP[m]["lr"] for m in IN_PLANES if m in SWEEP},
        points=CURVES["landscape"]["points"],
        stage=STAGE["curves"],
    script:
        "../scripts/plan_landscape.py"


rule evaluate_landscape:
    input:
        **HELDOUT,
        plan=f"{R}/curves/landscape.json",
        weights=[weights(m) for m in IN_PLANES],
        test=set_paths(f"{S}/prepared", "test"),
    output:
        f"{R}/tables/landscape.csv",
    log:
        f"{R}/logs/evaluate_landscape.log",
    benchmark:
        f"{R}/benchmarks/evaluate_landscape.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=GPUS,
    params:
        models=IN_PLANES,
        images=CURVES["landscape"]["images"],
        recalibrate=RECALIBRATE,
        inference=INFERENCE,
        stage=[STAGE["evaluate"], STAGE["soups"], STAGE["curves"]],
    script:
        "../scripts/evaluate_landscape.py"

# Series of recipes that are evaluated without being written: lines through weight space, and
# soups of growing sweeps. Planned on the held-out set, evaluated on a part of every test set.

CURVES = config["curves"]
BASE_ORIGINS = {ORIGINS[m] for m in BASE}
ENDS = catalog.curve_ends(CURVES["wise_ft"]["of"], config["soups"], SOUPS, BASE_ORIGINS)
CURVE_SOUPS = [name for name in ENDS if name in SOUPS]
ON_CURVES = [*sorted(set(ENDS.values())), *BASE, *CURVE_SOUPS]
PLANS = [
    *(["wise_ft"] if ENDS else []),
    *(["number_of_models"] if CURVES["number_of_models"] else []),
]


rule plan_wise_ft:
    input:
        labels=f"{S}/prepared/train.labels.npy",
        heldout=f"{S}/splits/heldout.npy",
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
    params:
        ingredients=list(BASE),
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
    params:
        entry={"ingredients": list(BASE), "pool": list(BASE), "start": None},
        stage=[STAGE["soups"], STAGE["curves"]],
    script:
        "../scripts/plan_number_of_models.py"


rule evaluate_curve:
    input:
        plan=f"{R}/curves/{{curve}}.json",
        pretrained=f"{S}/pretrained/model.safetensors",
        weights=[weights(m) for m in ON_CURVES],
        logits=[f for m in BASE for f in test_logits(m)],
        sets=expand(f"{S}/prepared/{{set}}.npy", set=TESTS),
        labels=expand(f"{S}/prepared/{{set}}.labels.npy", set=TESTS),
        meta=expand(f"{S}/prepared/{{set}}.json", set=TESTS),
    output:
        f"{R}/tables/{{curve}}.csv",
    log:
        f"{R}/logs/evaluate_curve/{{curve}}.log",
    benchmark:
        f"{R}/benchmarks/evaluate_curve/{{curve}}.tsv"
    wildcard_constraints:
        curve="|".join(PLANS) or NOTHING,
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        models=ON_CURVES,
        images=CURVES["images"],
        stage=[STAGE["evaluate"], STAGE["soups"], STAGE["ensembles"], STAGE["curves"]],
    script:
        "../scripts/evaluate_curve.py"

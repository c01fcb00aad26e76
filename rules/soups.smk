# A recipe is chosen with held-out logits and images alone. One rule cooks all recipes.


rule recipe:
    input:
        **plan.heldout,
        start=lambda w: plan.start_of(w.soup),
        weights=lambda w: [plan.weights(m) for m in plan.soups[w.soup]["ingredients"]],
        logits=lambda w: [plan.heldout_logits(m) for m in plan.soups[w.soup]["ingredients"]],
        made=lambda w: plan.recipes_of(plan.soups[w.soup]),
    output:
        f"{R}/recipes/{{soup}}.json",
    log:
        f"{R}/logs/recipe/{{soup}}.log",
    benchmark:
        f"{R}/benchmarks/recipe/{{soup}}.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=plan.gpus,
        # A learned soup may keep ingredients in memory, in addition to what every job needs.
        mem_mb=lambda w: round(2000 + 1024 * plan.soups[w.soup]["options"].get("memory_gb", 0)),
    params:
        **plan.scored,
        entry=lambda w: plan.soups[w.soup],
        recalibrate=lambda w: plan.recalibrated(w.soup),
        stage=plan.stage["soups"],
    script:
        "../scripts/recipe.py"


rule cook:
    input:
        **plan.heldout,
        recipe=f"{R}/recipes/{{soup}}.json",
        start=lambda w: plan.start_of(w.soup),
        weights=lambda w: [plan.weights(m) for m in plan.soups[w.soup]["ingredients"]],
    output:
        weights=f"{R}/soups/{{soup}}.safetensors",
        heldout=f"{R}/soups/{{soup}}.heldout.npy",
    log:
        f"{R}/logs/cook/{{soup}}.log",
    benchmark:
        f"{R}/benchmarks/cook/{{soup}}.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=plan.gpus,
    params:
        entry=lambda w: plan.soups[w.soup],
        recalibrate=lambda w: plan.recalibrated(w.soup),
        stage=plan.stage["soups"],
    script:
        "../scripts/cook.py"

# A recipe is chosen with held-out logits and images alone; one rule cooks every recipe.


rule recipe:
    input:
        **HELDOUT,
        start=lambda w: [weights(m) for m in [SOUPS[w.soup]["start"]] if m],
        weights=lambda w: [weights(m) for m in SOUPS[w.soup]["ingredients"]],
        logits=lambda w: [heldout_logits(m) for m in SOUPS[w.soup]["ingredients"]],
        made=lambda w: [recipe_of(soup) for soup in sources(SOUPS[w.soup])],
    output:
        f"{R}/recipes/{{soup}}.json",
    log:
        f"{R}/logs/recipe/{{soup}}.log",
    benchmark:
        f"{R}/benchmarks/recipe/{{soup}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        # Ingredients that a learned soup may hold, on top of what every job needs.
        mem_mb=lambda w: round(2000 + 1024 * SOUPS[w.soup]["options"].get("memory_gb", 0)),
    params:
        entry=lambda w: SOUPS[w.soup],
        recalibrate=RECALIBRATE,
        stage=STAGE["soups"],
    script:
        "../scripts/recipe.py"


rule cook:
    input:
        **HELDOUT,
        recipe=f"{R}/recipes/{{soup}}.json",
        start=lambda w: [weights(m) for m in [SOUPS[w.soup]["start"]] if m],
        weights=lambda w: [weights(m) for m in SOUPS[w.soup]["ingredients"]],
    output:
        weights=f"{R}/soups/{{soup}}.safetensors",
        heldout=f"{R}/soups/{{soup}}.heldout.npy",
    log:
        f"{R}/logs/cook/{{soup}}.log",
    benchmark:
        f"{R}/benchmarks/cook/{{soup}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=GPUS,
    params:
        entry=lambda w: SOUPS[w.soup],
        recalibrate=RECALIBRATE,
        stage=STAGE["soups"],
    script:
        "../scripts/cook.py"

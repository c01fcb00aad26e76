# Recipes choose with held-out logits alone; one rule cooks them all.


rule uniform_recipe:
    output:
        f"{R}/recipes/uniform.json",
    log:
        f"{R}/logs/recipes/uniform.log",
    benchmark:
        f"{R}/benchmarks/recipes/uniform.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        models=INGREDIENTS,
        stage=STAGE["soups"],
    script:
        "../scripts/uniform_recipe.py"


rule greedy_recipe:
    input:
        pretrained=f"{S}/pretrained/model.safetensors",
        images=TRAIN[0],
        labels=TRAIN[1:],
        heldout=f"{S}/splits/heldout.npy",
        weights=[weights(m) for m in INGREDIENTS],
        logits=[heldout_logits(m) for m in INGREDIENTS],
    output:
        f"{R}/recipes/greedy.json",
    log:
        f"{R}/logs/recipes/greedy.log",
    benchmark:
        f"{R}/benchmarks/recipes/greedy.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        models=INGREDIENTS,
        stage=STAGE["soups"],
    script:
        "../scripts/greedy_recipe.py"


rule cook:
    input:
        recipe=f"{R}/recipes/{{soup}}.json",
        pretrained=f"{S}/pretrained/model.safetensors",
        images=TRAIN[0],
        labels=TRAIN[1:],
        heldout=f"{S}/splits/heldout.npy",
        weights=[weights(m) for m in INGREDIENTS],
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
    params:
        models=INGREDIENTS,
        stage=STAGE["soups"],
    script:
        "../scripts/cook.py"

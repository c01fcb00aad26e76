# The procedural world of the miniature.

WORLD = DATA["world"]
DRAWN = {key: WORLD[key] for key in ("seed", "variants")}


rule draw_set:
    output:
        set_paths(f"{S}/prepared"),
    log:
        f"{S}/logs/draw_set/{{set}}.log",
    benchmark:
        f"{S}/benchmarks/draw_set/{{set}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        set="{set}",
        world=DRAWN,
        number=lambda w: WORLD[w.set if w.set in ("train", "test") else "shift"],
        stage=STAGE["data"],
    script:
        "../scripts/draw_set.py"


rule draw_adversarial:
    input:
        train=TRAIN[0],
        labels=TRAIN[1:],
    output:
        set_paths(f"{S}/prepared", "a"),
    log:
        f"{S}/logs/draw_adversarial.log",
    benchmark:
        f"{S}/benchmarks/draw_adversarial.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        world=DRAWN | {"reference": WORLD["reference"]},
        number=WORLD["shift"],
        stage=STAGE["data"],
    script:
        "../scripts/draw_adversarial.py"


ruleorder: draw_adversarial > draw_set


rule draw_corpus:
    output:
        images=f"{S}/prepared/corpus.npy",
        captions=f"{S}/prepared/corpus.txt",
    log:
        f"{S}/logs/draw_corpus.log",
    benchmark:
        f"{S}/benchmarks/draw_corpus.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        world=DRAWN,
        number=config["pretrain"]["images"],
        noise=config["pretrain"]["caption_noise"],
        stage=STAGE["data"],
    script:
        "../scripts/draw_corpus.py"

# The procedural world of the miniature.

WORLD = DATA["world"]
DRAWN = {key: WORLD[key] for key in ("seed", "variants")}


rule draw_set:
    output:
        set_paths(f"{S}/prepared"),
    params:
        set="{set}",
        world=DRAWN,
        number=lambda w: WORLD[w.set if w.set in ("train", "test") else "shift"],
        stage=STAGE["data"],
    log:
        f"{S}/logs/draw_set/{{set}}.log",
    benchmark:
        f"{S}/benchmarks/draw_set/{{set}}.tsv"
    threads: 1
    conda:
        "../envs/environment.yaml"
    script:
        "../scripts/draw_set.py"


rule draw_adversarial:
    input:
        train=f"{S}/prepared/train.npy",
        labels=f"{S}/prepared/train.labels.npy",
        meta=f"{S}/prepared/train.json",
    output:
        set_paths(f"{S}/prepared", "a"),
    params:
        world=DRAWN | {"reference": WORLD["reference"]},
        number=WORLD["shift"],
        stage=STAGE["data"],
    log:
        f"{S}/logs/draw_adversarial.log",
    benchmark:
        f"{S}/benchmarks/draw_adversarial.tsv"
    threads: 1
    conda:
        "../envs/environment.yaml"
    script:
        "../scripts/draw_adversarial.py"


ruleorder: draw_adversarial > draw_set


rule draw_corpus:
    output:
        images=f"{S}/prepared/corpus.npy",
        captions=f"{S}/prepared/corpus.txt",
    params:
        world=DRAWN,
        number=config["pretrain"]["images"],
        noise=config["pretrain"]["caption_noise"],
        stage=STAGE["data"],
    log:
        f"{S}/logs/draw_corpus.log",
    benchmark:
        f"{S}/benchmarks/draw_corpus.tsv"
    threads: 1
    conda:
        "../envs/environment.yaml"
    script:
        "../scripts/draw_corpus.py"

# The sets of the procedural world, which the miniature uses.


rule draw_set:
    output:
        plan.set_files(),
    log:
        f"{S}/logs/draw_set/{{set}}.log",
    benchmark:
        f"{S}/benchmarks/draw_set/{{set}}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        set="{set}",
        world=plan.drawn,
        number=lambda w: plan.drawn_images(w.set),
        stage=plan.stage["data"],
    script:
        "../scripts/draw_set.py"


rule draw_adversarial:
    input:
        train=plan.train["images"],
        labels=[plan.train[key] for key in ("labels", "meta")],
    output:
        plan.set_files("a"),
    log:
        f"{S}/logs/draw_adversarial.log",
    benchmark:
        f"{S}/benchmarks/draw_adversarial.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        world=plan.drawn | {"reference": config["data"]["world"]["reference"]},
        number=plan.drawn_images("a"),
        stage=plan.stage["data"],
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
    params:
        world=plan.drawn,
        number=config["pretrain"]["images"],
        noise=config["pretrain"]["caption_noise"],
        stage=plan.stage["data"],
    script:
        "../scripts/draw_corpus.py"

# Which training images are held out. Every selection uses these and nothing else.


rule split:
    input:
        train=TRAIN[0],
        labels=TRAIN[1:],
    output:
        train=f"{S}/splits/train.npy",
        heldout=f"{S}/splits/heldout.npy",
        manifest=f"{S}/splits/manifest.json",
    log:
        f"{S}/logs/split.log",
    benchmark:
        f"{S}/benchmarks/split.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        heldout=config["data"]["heldout"],
        stage=STAGE["splits"],
    script:
        "../scripts/split.py"

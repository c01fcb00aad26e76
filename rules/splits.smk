# Which training images are held out. Every selection uses these and nothing else: they become a
# set of their own.


rule split:
    input:
        TRAIN,
        marks=[path for path in [config["data"]["heldout"]["indices"]] if path],
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


rule hold_out:
    input:
        train=TRAIN,
        heldout=f"{S}/splits/heldout.npy",
    output:
        set_paths(f"{S}/prepared", "heldout"),
    log:
        f"{S}/logs/hold_out.log",
    benchmark:
        f"{S}/benchmarks/hold_out.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 4
    params:
        stage=STAGE["splits"],
    script:
        "../scripts/hold_out.py"

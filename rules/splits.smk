# The split into training and held-out images. The held-out images become a set of their own, and
# every selection uses this set and no other.


rule split:
    input:
        list(plan.train.values()),
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
    params:
        **plan.reduced,
        heldout=config["data"]["heldout"],
        stage=plan.stage["splits"],
    script:
        "../scripts/split.py"


rule hold_out:
    input:
        train=list(plan.train.values()),
        heldout=f"{S}/splits/heldout.npy",
    output:
        plan.heldout["heldout"],
    log:
        f"{S}/logs/hold_out.log",
    benchmark:
        f"{S}/benchmarks/hold_out.tsv"
    conda:
        "../envs/environment.yaml"
    threads: min(4, plan.readers)  # An array is copied by one thread.
    params:
        stage=plan.stage["splits"],
    script:
        "../scripts/hold_out.py"

# Checkpoints made elsewhere, such as the paper's 72 released ones, in place of fine-tuning.

BROUGHT = list(dict.fromkeys([*INGREDIENTS, *filter(None, [CHECKPOINTS["initialization"]])]))
# Model to its file, in the folder and after the address.
FILES = {m: CHECKPOINTS["file"].replace("{model}", m) for m in BROUGHT}
FILE_PATHS = {m: f"{CHECKPOINTS['folder']}/{FILES[m]}" for m in BROUGHT}
# A file that is there is an input like any other: no rule makes it. So nothing that Snakemake
# does to outputs (to run a rule again, to delete them all) touches what took hours to download.
ABSENT = [m for m in BROUGHT if CHECKPOINTS["url"] and not Path(FILE_PATHS[m]).is_file()]


# In the main process, because compute nodes often have no network. `--resources downloads=2`
# is for two at a time. An interrupted download goes on from <file>.part.
rule download_checkpoint:
    output:
        f"{CHECKPOINTS['folder']}/{CHECKPOINTS['file'].replace('{model}', '{released}')}",
    log:
        f"{R}/logs/download_checkpoint/{{released}}.log",
    benchmark:
        f"{R}/benchmarks/download_checkpoint/{{released}}.tsv"
    wildcard_constraints:
        released="|".join(ABSENT) or NOTHING,
    localrule: True
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        downloads=1,
    script:
        "../scripts/download_checkpoint.py"


rule import_checkpoint:
    input:
        pretrained=f"{S}/pretrained/model.safetensors",
        checkpoint=lambda w: FILE_PATHS[w.ingredient],
        heldout=set_paths(f"{S}/prepared", "heldout"),
    output:
        weights=f"{R}/models/{{ingredient}}.safetensors",
        heldout=f"{R}/models/{{ingredient}}.heldout.npy",
    log:
        f"{R}/logs/import_checkpoint/{{ingredient}}.log",
    benchmark:
        f"{R}/benchmarks/import_checkpoint/{{ingredient}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=GPUS,
    params:
        file=lambda w: FILES[w.ingredient],
        layout=CHECKPOINTS["layout"],
        dtype=CHECKPOINTS["dtype"],
        note=lambda w: {"hyperparameters": SWEEP[w.ingredient]},
        stage=[STAGE["checkpoints"], STAGE["evaluate"]],
    script:
        "../scripts/import_checkpoint.py"


if CHECKPOINTS["initialization"]:

    # θ₀, where the checkpoints' fine-tuning began.
    rule import_initialization:
        input:
            pretrained=f"{S}/pretrained/model.safetensors",
            checkpoint=FILE_PATHS[CHECKPOINTS["initialization"]],
            heldout=set_paths(f"{S}/prepared", "heldout"),
        output:
            weights=weights("initialization"),
            heldout=heldout_logits("initialization"),
        log:
            f"{S}/logs/import_initialization.log",
        benchmark:
            f"{S}/benchmarks/import_initialization.tsv"
        conda:
            "../envs/environment.yaml"
        threads: 1
        resources:
            gpu=GPUS,
        params:
            file=FILES[CHECKPOINTS["initialization"]],
            layout=CHECKPOINTS["layout"],
            dtype=CHECKPOINTS["dtype"],
            note={"head": "initialization"},
            stage=[STAGE["checkpoints"], STAGE["evaluate"]],
        script:
            "../scripts/import_checkpoint.py"

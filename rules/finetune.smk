# LP-FT: one linear probe, then one end-to-end fine-tune per row of the sweep.


HEADS = {}  # outputs of a model with a text side
if "zeroshot" in STARTS:
    HEADS = {"zeroshot": weights("zeroshot"), "zeroshot_heldout": heldout_logits("zeroshot")}


rule initialize:
    input:
        pretrained=f"{S}/pretrained/model.safetensors",
        images=TRAIN,
        train=f"{S}/splits/train.npy",
        heldout=set_paths(f"{S}/prepared", "heldout"),
    output:
        **HEADS,
        initialization=weights("initialization"),
        initialization_heldout=heldout_logits("initialization"),
        newhead=weights("newhead"),
    log:
        f"{S}/logs/initialize.log",
    benchmark:
        f"{S}/benchmarks/initialize.tsv"
    conda:
        "../envs/environment.yaml"
    threads: READERS
    resources:
        gpu=GPUS,
    params:
        probe=config["probe"],
        templates=config["model"]["templates"],
        stage=STAGE["initialize"],
    script:
        "../scripts/initialize.py"


rule finetune:
    input:
        pretrained=f"{S}/pretrained/model.safetensors",
        initialization=lambda w: weights(hyperparameters.START[SWEEP[w.ingredient]["start"]]),
        images=TRAIN,
        train=f"{S}/splits/train.npy",
        heldout=set_paths(f"{S}/prepared", "heldout"),
        teacher=lambda w: [f"{R}/teacher.npy"] if SWEEP[w.ingredient]["distill"] else [],
    output:
        weights=f"{R}/models/{{ingredient}}.safetensors",
        heldout=f"{R}/models/{{ingredient}}.heldout.npy",
    log:
        f"{R}/logs/finetune/{{ingredient}}.log",
    benchmark:
        f"{R}/benchmarks/finetune/{{ingredient}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: READERS * config["compute"]["gpus"]
    resources:
        gpu=GPUS * config["compute"]["gpus"],
    params:
        hyperparameters=lambda w: SWEEP[w.ingredient],
        compute=TRAINING,
        classes=lambda w: TASKS.get(SWEEP[w.ingredient]["task"]),
        state=f"{R}/.state",
        stage=STAGE["finetune"],
    script:
        "../scripts/finetune.py"


# For distillation: the mean logits of the sweep's own ingredients on their training images.
rule teacher:
    input:
        pretrained=f"{S}/pretrained/model.safetensors",
        images=TRAIN,
        train=f"{S}/splits/train.npy",
        weights=[weights(m) for m in BASE],
    output:
        f"{R}/teacher.npy",
    log:
        f"{R}/logs/teacher.log",
    benchmark:
        f"{R}/benchmarks/teacher.tsv"
    conda:
        "../envs/environment.yaml"
    threads: READERS
    resources:
        gpu=GPUS,
    params:
        stage=[STAGE["evaluate"], STAGE["finetune"]],
    script:
        "../scripts/teacher.py"

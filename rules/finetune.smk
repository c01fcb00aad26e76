# LP-FT: one linear probe, then one end-to-end fine-tune per row of the sweep.


rule initialize:
    input:
        pretrained=f"{S}/pretrained/model.safetensors",
        images=TRAIN[0],
        labels=TRAIN[1:],
        train=f"{S}/splits/train.npy",
        heldout=f"{S}/splits/heldout.npy",
    output:
        zeroshot=weights("zeroshot"),
        zeroshot_heldout=heldout_logits("zeroshot"),
        initialization=weights("initialization"),
        initialization_heldout=heldout_logits("initialization"),
    log:
        f"{S}/logs/initialize.log",
    benchmark:
        f"{S}/benchmarks/initialize.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        probe=config["probe"],
        templates=config["model"]["templates"],
        stage=STAGE["initialize"],
    script:
        "../scripts/initialize.py"


rule finetune:
    input:
        pretrained=f"{S}/pretrained/model.safetensors",
        initialization=weights(settings.START[config["model"]["start"]]),
        images=TRAIN[0],
        labels=TRAIN[1:],
        train=f"{S}/splits/train.npy",
        heldout=f"{S}/splits/heldout.npy",
    output:
        weights=f"{R}/models/{{ingredient}}.safetensors",
        heldout=f"{R}/models/{{ingredient}}.heldout.npy",
    log:
        f"{R}/logs/finetune/{{ingredient}}.log",
    benchmark:
        f"{R}/benchmarks/finetune/{{ingredient}}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        hyperparameters=lambda w: SWEEP[w.ingredient],
        state=f"{R}/.state",
        stage=STAGE["finetune"],
    script:
        "../scripts/finetune.py"

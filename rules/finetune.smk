# LP-FT: one linear probe, then one end-to-end fine-tune per row of the sweep.


rule initialize:
    input:
        pretrained=f"{S}/pretrained/model.safetensors",
        images=f"{S}/prepared/train.npy",
        train=f"{S}/splits/train.npy",
        heldout=f"{S}/splits/heldout.npy",
    output:
        zeroshot=weights("zeroshot"),
        zeroshot_heldout=heldout_logits("zeroshot"),
        initialization=weights("initialization"),
        initialization_heldout=heldout_logits("initialization"),
    params:
        probe=config["probe"],
        templates=config["model"]["templates"],
        stage=STAGE["initialize"],
    log:
        f"{S}/logs/initialize.log",
    benchmark:
        f"{S}/benchmarks/initialize.tsv"
    threads: 1
    conda:
        "../envs/environment.yaml"
    script:
        "../scripts/initialize.py"


rule finetune:
    input:
        pretrained=f"{S}/pretrained/model.safetensors",
        initialization=weights(settings.START[config["model"]["start"]]),
        images=f"{S}/prepared/train.npy",
        train=f"{S}/splits/train.npy",
        heldout=f"{S}/splits/heldout.npy",
    output:
        weights=f"{R}/models/{{ingredient}}.safetensors",
        heldout=f"{R}/models/{{ingredient}}.heldout.npy",
    params:
        hyperparameters=lambda w: SWEEP[w.ingredient],
        state=f"{R}/.state",
        stage=STAGE["finetune"],
    log:
        f"{R}/logs/finetune/{{ingredient}}.log",
    benchmark:
        f"{R}/benchmarks/finetune/{{ingredient}}.tsv"
    threads: 1
    conda:
        "../envs/environment.yaml"
    script:
        "../scripts/finetune.py"

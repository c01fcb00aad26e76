# Fine-tuning (LP-FT): one linear probe, and then one end-to-end fine-tune per row of the sweep.


rule initialize:
    input:
        pretrained=plan.pretrained,
        images=list(plan.train.values()),
        train=f"{S}/splits/train.npy",
        heldout=plan.heldout["heldout"],
    output:
        **plan.initialized,
    log:
        f"{S}/logs/initialize.log",
    benchmark:
        f"{S}/benchmarks/initialize.tsv"
    conda:
        "../envs/environment.yaml"
    threads: plan.readers
    resources:
        gpu=plan.gpus,
    params:
        probe=config["probe"],
        templates=config["model"]["templates"],
        stage=plan.stage["initialize"],
    script:
        "../scripts/initialize.py"


rule finetune:
    input:
        pretrained=plan.pretrained,
        initialization=lambda w: plan.weights(plan.sweep.origins[w.ingredient]),
        images=list(plan.train.values()),
        train=f"{S}/splits/train.npy",
        heldout=plan.heldout["heldout"],
        teacher=lambda w: [f"{R}/teacher.npy"] if plan.sweep.rows[w.ingredient]["distill"] else [],
    output:
        weights=f"{R}/models/{{ingredient}}.safetensors",
        heldout=f"{R}/models/{{ingredient}}.heldout.npy",
    log:
        f"{R}/logs/finetune/{{ingredient}}.log",
    benchmark:
        f"{R}/benchmarks/finetune/{{ingredient}}.tsv"
    priority: LONG
    conda:
        "../envs/environment.yaml"
    threads: plan.readers * config["compute"]["gpus"]
    resources:
        gpu=plan.gpus * config["compute"]["gpus"],
    params:
        hyperparameters=lambda w: plan.sweep.trained(w.ingredient),
        compute=plan.training,
        classes=lambda w: plan.tasks.get(plan.sweep.rows[w.ingredient]["task"]),
        state=f"{R}/.state",
        stage=plan.stage["finetune"],
    script:
        "../scripts/finetune.py"


# The teacher for distillation: mean logits of the sweep's models on the training images.
rule teacher:
    input:
        pretrained=plan.pretrained,
        images=list(plan.train.values()),
        train=f"{S}/splits/train.npy",
        weights=[plan.weights(m) for m in plan.base],
    output:
        f"{R}/teacher.npy",
    log:
        f"{R}/logs/teacher.log",
    benchmark:
        f"{R}/benchmarks/teacher.tsv"
    conda:
        "../envs/environment.yaml"
    threads: plan.readers
    resources:
        gpu=plan.gpus,
    params:
        stage=[plan.stage["evaluate"], plan.stage["finetune"]],
    script:
        "../scripts/teacher.py"

# Checkpoints from elsewhere, such as the paper's 72 released ones, are imported instead of
# fine-tuning models.


# Downloads run in the main process, because compute nodes often have no network. `--resources
# downloads=2` allows two at a time. An interrupted download continues from <file>.part.
rule download_checkpoint:
    output:
        plan.checkpoints.pattern("released"),
    log:
        f"{R}/logs/download_checkpoint/{{released}}.log",
    benchmark:
        f"{R}/benchmarks/download_checkpoint/{{released}}.tsv"
    wildcard_constraints:
        released="|".join(plan.checkpoints.absent) or NOTHING,
    localrule: True
    conda:
        "../envs/environment.yaml"
    resources:
        downloads=1,
    script:
        "../scripts/download_checkpoint.py"


rule import_checkpoint:
    input:
        pretrained=plan.pretrained,
        checkpoint=lambda w: plan.checkpoints.path(w.ingredient),
        heldout=plan.heldout["heldout"],
    output:
        weights=f"{R}/models/{{ingredient}}.safetensors",
        heldout=f"{R}/models/{{ingredient}}.heldout.npy",
    log:
        f"{R}/logs/import_checkpoint/{{ingredient}}.log",
    benchmark:
        f"{R}/benchmarks/import_checkpoint/{{ingredient}}.tsv"
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=plan.gpus,
    params:
        file=lambda w: plan.checkpoints.names[w.ingredient],
        layout=plan.checkpoints.settings["layout"],
        dtype=plan.checkpoints.settings["dtype"],
        note=lambda w: {"hyperparameters": plan.sweep.rows[w.ingredient]},
        stage=[plan.stage["checkpoints"], plan.stage["evaluate"]],
    script:
        "../scripts/import_checkpoint.py"


if plan.checkpoints.initialization:

    # θ₀, the model that the checkpoints were fine-tuned from.
    use rule import_checkpoint as import_initialization with:
        input:
            pretrained=plan.pretrained,
            checkpoint=plan.checkpoints.path(plan.checkpoints.initialization),
            heldout=plan.heldout["heldout"],
        output:
            weights=plan.weights(plan.starts[0]),
            heldout=plan.heldout_logits(plan.starts[0]),
        log:
            f"{S}/logs/import_initialization.log",
        benchmark:
            f"{S}/benchmarks/import_initialization.tsv"
        params:
            file=plan.checkpoints.names[plan.checkpoints.initialization],
            layout=plan.checkpoints.settings["layout"],
            dtype=plan.checkpoints.settings["dtype"],
            note={"head": plan.starts[0]},
            stage=[plan.stage["checkpoints"], plan.stage["evaluate"]],

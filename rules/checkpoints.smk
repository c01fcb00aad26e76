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


# The time of a folder says nothing, because file managers write into folders. Therefore a folder is
# `ancient`, and the files in it are inputs as well.
def checkpoint_of(model):
    path = plan.checkpoints.path(model)
    return ancient(path) if plan.checkpoints.parts(model) else path


FIRST_CHECKPOINT = (
    checkpoint_of(next(iter(plan.sweep.rows)))
    if plan.checkpoints.settings["dtype"] == "as is"
    else []
)


rule import_checkpoint:
    input:
        pretrained=plan.pretrained,
        checkpoint=lambda w: checkpoint_of(w.ingredient),
        parts=lambda w: plan.checkpoints.parts(w.ingredient),
        heldout=plan.heldout["heldout"],
        classes=plan.checkpoints.settings["classes"] or [],
        # The first model, whose dtypes all others must have if none is cast.
        first=FIRST_CHECKPOINT,
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
        dtype=plan.checkpoints.settings["dtype"],
        weights=config["model"]["weights"],
        templates=config["model"]["templates"],
        strict=config["ingredients"]["strict"],
        note=lambda w: {"hyperparameters": plan.sweep.rows[w.ingredient]},
        start=False,
        stage=[plan.stage["checkpoints"], plan.stage["evaluate"]],
    script:
        "../scripts/import_checkpoint.py"


if plan.checkpoints.initialization:

    # θ₀, the model that the checkpoints were fine-tuned from.
    use rule import_checkpoint as import_initialization with:
        input:
            pretrained=plan.pretrained,
            checkpoint=checkpoint_of(plan.checkpoints.initialization),
            parts=plan.checkpoints.parts(plan.checkpoints.initialization),
            heldout=plan.heldout["heldout"],
            classes=plan.checkpoints.settings["classes"] or [],
            first=FIRST_CHECKPOINT,
        output:
            weights=plan.weights(plan.starts[0]),
            heldout=plan.heldout_logits(plan.starts[0]),
        log:
            f"{S}/logs/import_initialization.log",
        benchmark:
            f"{S}/benchmarks/import_initialization.tsv"
        params:
            file=plan.checkpoints.names[plan.checkpoints.initialization],
            dtype=plan.checkpoints.settings["dtype"],
            weights=config["model"]["weights"],
            templates=config["model"]["templates"],
            strict=True,
            note={"head": plan.starts[0]},
            start=True,
            stage=[plan.stage["checkpoints"], plan.stage["evaluate"]],

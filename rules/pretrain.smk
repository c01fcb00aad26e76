# The pre-trained model is trained on captioned images, or imported ready-made.

if plan.uses_corpus:

    rule pretrain:
        input:
            images=f"{S}/prepared/corpus.npy",
            captions=f"{S}/prepared/corpus.txt",
            train=f"{S}/prepared/train.json",
            # This file is not read. It makes an impossible split fail before pre-training.
            split=f"{S}/splits/manifest.json",
        output:
            plan.pretrained,
        log:
            f"{S}/logs/pretrain.log",
        benchmark:
            f"{S}/benchmarks/pretrain.tsv"
        conda:
            "../envs/environment.yaml"
        resources:
            gpu=plan.gpus,
        params:
            architecture=config["model"]["architecture"],
            templates=config["model"]["templates"],
            settings=plan.pretraining,
            state=f"{S}/.state",
            stage=plan.stage["pretrain"],
        script:
            "../scripts/pretrain.py"

else:

    rule import_pretrained:
        input:
            plan.weights_file,
        output:
            plan.pretrained,
        log:
            f"{S}/logs/import_pretrained.log",
        benchmark:
            f"{S}/benchmarks/import_pretrained.tsv"
        priority: 100  # an error about the model should come before long jobs
        conda:
            "../envs/environment.yaml"
        params:
            **plan.averaged,
            **plan.model_settings,
            source=lambda w: config["model"]["pretrained"],
            architecture=config["model"]["architecture"],
            pixels=plan.pixels,
            image_size=plan.image_size,
            stage=plan.stage["pretrain"],
        script:
            "../scripts/import_pretrained.py"

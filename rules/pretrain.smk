# The pre-trained model: trained here on captioned images, or brought in ready-made.

if settings.uses_corpus(config):

    rule pretrain:
        input:
            images=f"{S}/prepared/corpus.npy",
            captions=f"{S}/prepared/corpus.txt",
            train=f"{S}/prepared/train.json",
            # Not read: a split that cannot be made must fail before, not after.
            split=f"{S}/splits/manifest.json",
        output:
            f"{S}/pretrained/model.safetensors",
        log:
            f"{S}/logs/pretrain.log",
        benchmark:
            f"{S}/benchmarks/pretrain.tsv"
        conda:
            "../envs/environment.yaml"
        threads: 1
        resources:
            gpu=GPUS,
        params:
            architecture=config["model"]["architecture"],
            templates=config["model"]["templates"],
            settings={
                key: value
                for key, value in config["pretrain"].items()
                if key not in ("images", "caption_noise")
            },
            state=f"{S}/.state",
            stage=STAGE["pretrain"],
        script:
            "../scripts/pretrain.py"

else:

    rule import_pretrained:
        input:
            [f for f in [config["model"]["pretrained"]] if f and f.endswith(architectures.WEIGHTS)],
        output:
            f"{S}/pretrained/model.safetensors",
        log:
            f"{S}/logs/import_pretrained.log",
        benchmark:
            f"{S}/benchmarks/import_pretrained.tsv"
        priority: 100  # a model that is not to be had should be known of first
        conda:
            "../envs/environment.yaml"
        threads: 1
        params:
            source=lambda w: config["model"]["pretrained"],
            architecture=config["model"]["architecture"],
            pixels={key: config["model"][key] for key in ("mean", "std")},
            image_size=(DATA["folders"] or {}).get("image_size"),
            stage=STAGE["pretrain"],
        script:
            "../scripts/import_pretrained.py"

# Your own images, or ImageNet's sets in their released layouts, which
# scripts/soups/data/layouts.py reads. check_set decodes every image before any job computes with it.
#
# The time of a folder says nothing, because file managers write into folders. Therefore folders are
# `ancient`, and the parameter `found` holds a hash of the names, sizes and times of the images.


rule check_set:
    input:
        folder=ancient(lambda w: plan.folders.inputs(w.set)[0]),
        files=lambda w: plan.folders.inputs(w.set)[1],
    output:
        report=f"{S}/checks/{{set}}.json",
        images=f"{S}/checks/{{set}}.images.csv",
    log:
        f"{S}/logs/check_set/{{set}}.log",
    benchmark:
        f"{S}/benchmarks/check_set/{{set}}.tsv"
    wildcard_constraints:
        set="|".join(plan.folders.found),
    priority: 100
    conda:
        "../envs/environment.yaml"
    threads: 4
    params:
        set="{set}",
        data=lambda w: plan.folders.only(w.set),
        found=lambda w: plan.folders.state(w.set),
        classes=plan.folders.fingerprint,
        stage=plan.stage["folders"],
    script:
        "../scripts/check_set.py"


rule check_data:
    input:
        reports=expand(f"{S}/checks/{{set}}.json", set=plan.folders.found),
        images=expand(f"{S}/checks/{{set}}.images.csv", set=plan.folders.found),
    output:
        table=table("data"),
        duplicates=f"{R}/checks/duplicates.csv",
    log:
        f"{R}/logs/check_data.log",
    benchmark:
        f"{R}/benchmarks/check_data.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        data=lambda w: plan.folders.settings,
        stage=plan.stage["folders"],
    script:
        "../scripts/check_data.py"


rule prepare_folder:
    input:
        folder=ancient(lambda w: plan.folders.inputs(w.set)[0]),
        files=lambda w: plan.folders.inputs(w.set)[1],
        report=f"{S}/checks/{{set}}.json",
    output:
        images=f"{S}/prepared/{{set}}.npy",
        labels=f"{S}/prepared/{{set}}.labels.npy",
        meta=f"{S}/prepared/{{set}}.json",
    log:
        f"{S}/logs/prepare_folder/{{set}}.log",
    benchmark:
        f"{S}/benchmarks/prepare_folder/{{set}}.tsv"
    wildcard_constraints:
        set="|".join(plan.prepared_folders),
    conda:
        "../envs/environment.yaml"
    threads: 4
    params:
        set="{set}",
        data=lambda w: plan.folders.only(w.set),
        found=lambda w: plan.folders.state(w.set),
        classes=plan.folders.fingerprint,
        stage=plan.stage["folders"],
    script:
        "../scripts/prepare_folder.py"


# With these stores, images are decoded in every epoch, so the training set has other files.
if plan.store != "array":

    use rule prepare_folder as prepare_train with:
        input:
            folder=ancient(lambda w: plan.folders.inputs("train")[0]),
            files=lambda w: plan.folders.inputs("train")[1],
            report=f"{S}/checks/train.json",
        output:
            **plan.train,
        log:
            f"{S}/logs/prepare_train.log",
        benchmark:
            f"{S}/benchmarks/prepare_train.tsv"
        wildcard_constraints:
            set="train",
        params:
            set="train",
            data=lambda w: plan.folders.only("train"),
            found=lambda w: plan.folders.state("train"),
            classes=plan.folders.fingerprint,
            stage=plan.stage["folders"],


rule corrupt_set:
    input:
        test=f"{S}/prepared/test.npy",
        labels=f"{S}/prepared/test.labels.npy",
        meta=f"{S}/prepared/test.json",
    output:
        plan.set_files(),
    log:
        f"{S}/logs/corrupt_set/{{set}}.log",
    benchmark:
        f"{S}/benchmarks/corrupt_set/{{set}}.tsv"
    wildcard_constraints:
        set="|".join(plan.folders.corrupted) or NOTHING,
    conda:
        "../envs/environment.yaml"
    params:
        set="{set}",
        spec=lambda w: plan.folders.sources[w.set],
        seed=plan.folders.settings["seed"],
        stage=plan.stage["data"],
    script:
        "../scripts/corrupt_set.py"


rule folder_corpus:
    input:
        folder=ancient(lambda w: plan.folders.inputs("train")[0]),
        files=lambda w: plan.folders.inputs("train")[1],
        report=f"{S}/checks/train.json",
    output:
        images=f"{S}/prepared/corpus.npy",
        captions=f"{S}/prepared/corpus.txt",
    log:
        f"{S}/logs/folder_corpus.log",
    benchmark:
        f"{S}/benchmarks/folder_corpus.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 4
    params:
        data=lambda w: plan.folders.only("train"),
        found=lambda w: plan.folders.state("train"),
        classes=plan.folders.fingerprint,
        templates=config["model"]["templates"],
        wrong=config["pretrain"]["caption_noise"]["wrong"],
        stage=plan.stage["folders"],
    script:
        "../scripts/folder_corpus.py"

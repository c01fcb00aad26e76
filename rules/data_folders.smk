# Your own images, and ImageNet's sets as they are released: layouts are read in
# scripts/soups/layouts.py. Every image is looked at before anything is computed from it.

FOLDERS = folders.settings_of(DATA["folders"])
SOURCES = folders.sources(FOLDERS)
KNOWN = files.fingerprint(folders.training_classes(FOLDERS))
IN_FOLDERS = [name for name, spec in SOURCES.items() if "folder" in spec]


rule check_set:
    input:
        lambda w: folders.inputs(FOLDERS, w.set),
    output:
        f"{S}/checks/{{set}}.json",
    log:
        f"{S}/logs/check_set/{{set}}.log",
    benchmark:
        f"{S}/benchmarks/check_set/{{set}}.tsv"
    wildcard_constraints:
        set="|".join(IN_FOLDERS),
    priority: 100
    conda:
        "../envs/environment.yaml"
    threads: 4
    params:
        set="{set}",
        data=FOLDERS,
        classes=KNOWN,  # shifts count in these
        stage=STAGE["folders"],
    script:
        "../scripts/check_set.py"


rule check_data:
    input:
        expand(f"{S}/checks/{{set}}.json", set=IN_FOLDERS),
    output:
        table("data"),
    log:
        f"{R}/logs/check_data.log",
    benchmark:
        f"{R}/benchmarks/check_data.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        stage=STAGE["folders"],
    script:
        "../scripts/check_data.py"


rule prepare_folder:
    input:
        lambda w: folders.inputs(FOLDERS, w.set),
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
        set="|".join(n for n in IN_FOLDERS if n != "train" or STORE == "array"),
    conda:
        "../envs/environment.yaml"
    threads: 4
    params:
        set="{set}",
        data=FOLDERS,
        classes=KNOWN,  # shifts count in these
        stage=STAGE["folders"],
    script:
        "../scripts/prepare_folder.py"


# Training images that are decoded again in every epoch, from one file or from their folders.
if STORE != "array":

    rule prepare_train:
        input:
            folders.inputs(FOLDERS, "train"),
            report=f"{S}/checks/train.json",
        output:
            **TRAIN_FILES,
        log:
            f"{S}/logs/prepare_train.log",
        benchmark:
            f"{S}/benchmarks/prepare_train.tsv"
        conda:
            "../envs/environment.yaml"
        threads: 4
        params:
            set="train",
            data=FOLDERS,
            classes=KNOWN,  # shifts count in these
            stage=STAGE["folders"],
        script:
            "../scripts/prepare_folder.py"


rule corrupt_set:
    input:
        test=f"{S}/prepared/test.npy",
        labels=f"{S}/prepared/test.labels.npy",
        meta=f"{S}/prepared/test.json",
    output:
        set_paths(f"{S}/prepared"),
    log:
        f"{S}/logs/corrupt_set/{{set}}.log",
    benchmark:
        f"{S}/benchmarks/corrupt_set/{{set}}.tsv"
    wildcard_constraints:
        set="|".join(name for name, spec in SOURCES.items() if "corruption" in spec) or NOTHING,
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        set="{set}",
        spec=lambda w: SOURCES[w.set],
        seed=FOLDERS["seed"],
        stage=STAGE["data"],
    script:
        "../scripts/corrupt_set.py"


rule folder_corpus:
    input:
        folders.inputs(FOLDERS, "train"),
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
        data=FOLDERS,
        classes=KNOWN,  # shifts count in these
        templates=config["model"]["templates"],
        wrong=config["pretrain"]["caption_noise"]["wrong"],
        stage=STAGE["folders"],
    script:
        "../scripts/folder_corpus.py"

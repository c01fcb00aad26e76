# Your own images: a folder per set, a subfolder per class.

FOLDERS = DATA["folders"]
GIVEN = {key: value for key, value in FOLDERS.items() if key != "shifts"}
# Set name to where its images come from: a folder, or a corruption of the test set.
SOURCES = {
    "train": {"folder": FOLDERS["train"]},
    "test": {"folder": FOLDERS["test"]},
} | {name: spec for name, spec in FOLDERS["shifts"].items() if spec}


def class_folders(folder):
    """Inputs whose modification times change when an image is added or removed."""
    base = f"{FOLDERS['root']}/{folder}"
    return [f"{base}/{name}" for name in folders.classes(base)]


rule prepare_folder:
    input:
        lambda w: class_folders(SOURCES[w.set]["folder"]),
    output:
        set_paths(f"{S}/prepared"),
    log:
        f"{S}/logs/prepare_folder/{{set}}.log",
    benchmark:
        f"{S}/benchmarks/prepare_folder/{{set}}.tsv"
    wildcard_constraints:
        set="|".join(name for name, spec in SOURCES.items() if "folder" in spec),
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        set="{set}",
        data=GIVEN,
        spec=lambda w: SOURCES[w.set],
        stage=STAGE["data"],
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
        seed=FOLDERS.get("seed", 0),
        stage=STAGE["data"],
    script:
        "../scripts/corrupt_set.py"


rule folder_corpus:
    input:
        class_folders(FOLDERS["train"]),
    output:
        images=f"{S}/prepared/corpus.npy",
        captions=f"{S}/prepared/corpus.txt",
    log:
        f"{S}/logs/folder_corpus.log",
    benchmark:
        f"{S}/benchmarks/folder_corpus.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        data=GIVEN,
        templates=config["model"]["templates"],
        wrong=config["pretrain"]["caption_noise"]["wrong"],
        stage=STAGE["data"],
    script:
        "../scripts/folder_corpus.py"

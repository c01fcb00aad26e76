# Texts: files of the user, GLUE's released files, or sets of Hugging Face's hub. read_texts checks
# every line before any job computes with it.


rule read_texts:
    input:
        lambda w: plan.source.inputs(w.set),
    output:
        texts=f"{S}/texts/{{set}}.jsonl",
        report=f"{S}/checks/{{set}}.json",
    log:
        f"{S}/logs/read_texts/{{set}}.log",
    benchmark:
        f"{S}/benchmarks/read_texts/{{set}}.tsv"
    wildcard_constraints:
        set="|".join(plan.source.found),
    priority: 100
    conda:
        "../envs/environment.yaml"
    params:
        set="{set}",
        origin=lambda w: plan.source.origin(w.set),
        found=lambda w: plan.source.state(w.set),
        stage=plan.stage["data"],
    script:
        "../scripts/read_texts.py"


rule perturb_texts:
    input:
        test=f"{S}/texts/test.jsonl",
    output:
        texts=f"{S}/texts/{{set}}.jsonl",
    log:
        f"{S}/logs/perturb_texts/{{set}}.log",
    benchmark:
        f"{S}/benchmarks/perturb_texts/{{set}}.tsv"
    wildcard_constraints:
        set="|".join(plan.source.perturbed) or NOTHING,
    conda:
        "../envs/environment.yaml"
    params:
        set="{set}",
        spec=lambda w: plan.source.perturbation(w.set),
        seed=plan.source.settings["seed"],
        stage=plan.stage["data"],
    script:
        "../scripts/perturb_texts.py"


rule check_texts:
    input:
        reports=expand(f"{S}/checks/{{set}}.json", set=plan.source.found),
        texts=expand(f"{S}/texts/{{set}}.jsonl", set=plan.source.found),
        # Their metadata say how many texts are cut.
        meta=expand(f"{S}/prepared/{{set}}.json", set=plan.source.found),
    output:
        table=table("data", caption="texts"),
        duplicates=f"{R}/checks/duplicates.csv",
    log:
        f"{R}/logs/check_texts.log",
    benchmark:
        f"{R}/benchmarks/check_texts.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        stage=plan.stage["data"],
    script:
        "../scripts/check_texts.py"


rule tokenize_set:
    input:
        texts=f"{S}/texts/{{set}}.jsonl",
        pretrained=plan.pretrained,
    output:
        plan.set_files(),
    log:
        f"{S}/logs/tokenize_set/{{set}}.log",
    benchmark:
        f"{S}/benchmarks/tokenize_set/{{set}}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        set="{set}",
        classes=plan.source.classes,
        derived=lambda w: "test" if w.set in plan.source.perturbed else None,
        stage=plan.stage["data"],
    script:
        "../scripts/tokenize_set.py"

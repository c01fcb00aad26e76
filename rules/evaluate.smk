# One job per model: its logits on the test set and every shift. Nothing that chooses reads these.


rule evaluate:
    input:
        pretrained=f"{S}/pretrained/model.safetensors",
        weights=lambda w: weights(w.model),
        sets=expand(f"{S}/prepared/{{set}}.npy", set=TESTS),
        labels=expand(f"{S}/prepared/{{set}}.labels.npy", set=TESTS),
        meta=expand(f"{S}/prepared/{{set}}.json", set=TESTS),
    output:
        expand("{{home}}/logits/{{model}}/{set}.npy", set=TESTS),
    log:
        "{home}/logs/evaluate/{model}.log",
    benchmark:
        "{home}/benchmarks/evaluate/{model}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        gpu=GPUS,
    params:
        inference=INFERENCE,
        stage=STAGE["evaluate"],
    script:
        "../scripts/evaluate.py"

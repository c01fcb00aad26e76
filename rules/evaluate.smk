# One job per model computes its logits on the test set and every shift. No rule that chooses models
# reads these logits.


rule evaluate:
    input:
        **plan.test_sets,
        pretrained=plan.pretrained,
        weights=lambda w: plan.weights(w.model),
    output:
        expand("{{home}}/logits/{{model}}/{set}.npy", set=plan.tests),
    log:
        "{home}/logs/evaluate/{model}.log",
    benchmark:
        "{home}/benchmarks/evaluate/{model}.tsv"
    priority: LONG // 2  # before soups, because pairs wait for the logits of all models
    conda:
        "../envs/environment.yaml"
    resources:
        gpu=plan.gpus,
    params:
        inference=config["compute"]["inference"],
        stage=plan.stage["evaluate"],
    script:
        "../scripts/evaluate.py"

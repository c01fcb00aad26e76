# Figures, each from tables alone: `snakemake figures` after a change of style takes seconds.

FIGURE_TABLES = {
    "scatter": {"models": "models", "methods": "methods"},
    "methods": {"methods": "methods"},
    "shifts": {"models": "models", "methods": "methods"},
}
if "greedy_trace" in TABLES:
    FIGURE_TABLES["greedy_trace"] = {"trace": "greedy_trace", "methods": "methods"}
for plan in PLANS:
    FIGURE_TABLES[plan] = {"curve": plan}
FIGURES = [*FIGURE_TABLES, "contact_sheet"]

for figure, tables in FIGURE_TABLES.items():

    rule:
        name:
            f"plot_{figure}"
        input:
            **{key: f"{R}/tables/{table}.csv" for key, table in tables.items()},
        output:
            png=report(
                f"{R}/figures/{figure}.png",
                caption=f"captions/figures/{figure}.rst",
                category="Figures",
                labels={"figure": figure},
            ),
            pdf=f"{R}/figures/{figure}.pdf",
        log:
            f"{R}/logs/plot_{figure}.log",
        benchmark:
            f"{R}/benchmarks/plot_{figure}.tsv"
        conda:
            "../envs/environment.yaml"
        threads: 1
        params:
            figure=figure,
            stage=STAGE["figures"],
        script:
            "../scripts/plot.py"


rule contact_sheet:
    input:
        train=f"{S}/prepared/train.npy",
        sets=expand(f"{S}/prepared/{{set}}.npy", set=TESTS),
        labels=expand(f"{S}/prepared/{{set}}.labels.npy", set=["train", *TESTS]),
        meta=expand(f"{S}/prepared/{{set}}.json", set=["train", *TESTS]),
    output:
        png=report(
            f"{R}/figures/contact_sheet.png",
            caption="captions/figures/contact_sheet.rst",
            category="Figures",
            labels={"figure": "contact sheet"},
        ),
        pdf=f"{R}/figures/contact_sheet.pdf",
    log:
        f"{R}/logs/contact_sheet.log",
    benchmark:
        f"{R}/benchmarks/contact_sheet.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        by_style=config["data"]["source"] == "world",
        stage=STAGE["figures"],
    script:
        "../scripts/contact_sheet.py"

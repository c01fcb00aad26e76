# Figures, each from tables alone: `snakemake figures` after a change of style takes seconds.

# Figure: its tables, under the names its function has for them.
LARGE_LR = {"large_lr": CURVES["large_lr"]}
FIGURE_TABLES = {
    "scatter": {"models": "models", "methods": "methods"},
    "methods": {"methods": "methods"},
    "shifts": {"models": "models", "methods": "methods"},
    "reliability": {"bins": "reliability", "calibration": "calibration"},
    "sweep": {"models": "models", "methods": "methods"},
}
FIGURE_OPTIONS = {}
if "greedy_trace" in TABLES:
    FIGURE_TABLES["greedy_trace"] = {"trace": "greedy_trace", "methods": "methods"}
for curve in ON_CURVE:
    FIGURE_TABLES[curve] = {"curve": curve}
if LARGE:
    FIGURE_TABLES["large_lr"] |= {"rejection": "rejection"}
if PANELS:
    FIGURE_TABLES["landscape"] = {"points": "landscape"}
if "paths" in PAIRS:
    FIGURE_TABLES |= {"paths": {"paths": "paths"}, "loss_gap": {"paths": "paths"}}
    FIGURE_OPTIONS |= {"paths": LARGE_LR, "loss_gap": LARGE_LR}
if "first_six" in REFERENCES:  # the same models as they are, in experiments/ablations.yaml
    FIGURE_TABLES["averaging"] = {"significance": "significance"}
    FIGURE_OPTIONS["averaging"] = {"reference": "first_six"}
if config["published"]:
    FIGURE_TABLES["reproduction"] = {"compared": "reproduction"}
if CLAIMS["weaker"]:
    FIGURE_TABLES["pretraining"] = {"methods": "methods"}
if PAIRS:
    FIGURE_TABLES["soup_vs_ensemble"] = {name: name for name in PAIRS}
    FIGURE_TABLES["angles"] = {name: name for name in PAIRS} | {"effects": "effects"}
    FIGURE_OPTIONS |= {"angles": LARGE_LR, "soup_vs_ensemble": LARGE_LR}
ORDER = [  # in the report
    *("reproduction", "scatter", "methods", "shifts", "sweep", "greedy_trace", "landscape"),
    *("paths", "angles"),
    *("soup_vs_ensemble", "loss_gap", "number_of_models", "slices", "large_lr", "reliability"),
    *("wise_ft", "averaging", "tasks", "pretraining", "contact_sheet"),
]
FIGURES = sorted([*FIGURE_TABLES, "contact_sheet"], key=ORDER.index)

for figure, tables in FIGURE_TABLES.items():

    rule:
        name:
            f"plot_{figure}"
        input:
            **{key: f"{R}/tables/{table}.csv" for key, table in tables.items()},
            **({"weaker": WEAKER[0]} if figure == "pretraining" else {}),
        output:
            png=report(
                f"{R}/figures/{figure}.png",
                caption=f"captions/figures/{figure}.rst",
                category="Figures",
                labels={"figure": figure.replace("_", " ")},
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
            options=FIGURE_OPTIONS.get(figure, {}),
            stage=STAGE["figures"],
        script:
            "../scripts/plot.py"


rule contact_sheet:
    input:
        train=f"{S}/prepared/train.json",
        sets=expand(f"{S}/prepared/{{set}}.npy", set=TESTS),
        labels=expand(f"{S}/prepared/{{set}}.labels.npy", set=TESTS),
        meta=expand(f"{S}/prepared/{{set}}.json", set=TESTS),
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

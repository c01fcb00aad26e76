# Figures are drawn from tables alone, so `snakemake figures --forcerun plot` takes seconds.
# scripts/soups/experiment/figures.py lists them.


rule plot:
    input:
        unpack(lambda w: plan.figure_inputs(w.figure)),
    output:
        png=report(
            f"{R}/figures/{{figure}}.png",
            caption="captions/figure.rst",
            category="Figures",
            labels=lambda w: {"figure": w.figure.replace("_", " ")},
        ),
        pdf=f"{R}/figures/{{figure}}.pdf",
    log:
        f"{R}/logs/plot/{{figure}}.log",
    benchmark:
        f"{R}/benchmarks/plot/{{figure}}.tsv"
    wildcard_constraints:
        figure="|".join(plan.drawn_by("plot")),
    conda:
        "../envs/environment.yaml"
    params:
        figure="{figure}",
        options=plan.figure_options,
        roles=plan.roles,
        # A function of `input` is no reason to run again when the caption changes.
        caption=lambda w, input: plan.figures[w.figure].caption,
        stage=plan.stage["figures"],
    script:
        "../scripts/plot.py"


rule contact_sheet:
    input:
        **plan.test_sets,
        train=f"{S}/prepared/train.json",
    output:
        png=report(
            f"{R}/figures/contact_sheet.png",
            caption="captions/figure.rst",
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
    params:
        by_style=plan.folders is None,
        caption=lambda w, input: plan.figures["contact_sheet"].caption,
        stage=plan.stage["figures"],
    script:
        "../scripts/contact_sheet.py"


# Runs without ready-made models have the figure of `snakemake doctor` outside their report.
if "doctor" not in plan.figures:

    use rule plot as plot_doctor with:
        input:
            unpack(lambda w: {"doctor": f"{R}/tables/doctor.csv"}),
        output:
            png=f"{R}/figures/doctor.png",
            pdf=f"{R}/figures/doctor.pdf",
        log:
            f"{R}/logs/plot/doctor.log",
        benchmark:
            f"{R}/benchmarks/plot/doctor.tsv"
        params:
            figure="doctor",
            options=plan.worded,
            roles=plan.roles,
            caption=lambda w, input: None,
            stage=plan.stage["figures"],

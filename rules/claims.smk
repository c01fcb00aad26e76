# The paper's claims, judged by rules fixed in scripts/soups/claims.py.

CLAIMS = config["claims"]
CURVE_TABLES = [*ON_CURVE, *PAIRS]
EVIDENCE = ["methods", "significance", "calibration", *CURVE_TABLES]
EVIDENCE += ["rejection"] if LARGE else []

WEAKER = []
if CLAIMS["weaker"]:
    WEAKER = of_experiment("claims.weaker", CLAIMS["weaker"], "methods", "significance")


rule claims:
    input:
        tables=expand(f"{R}/tables/{{table}}.csv", table=EVIDENCE),
        points=expand(f"{R}/curves/{{curve}}.safetensors", curve=CURVE_TABLES),
        published=f"{workflow.basedir}/experiments/published/clip-vitb32-72.csv",
        weaker=WEAKER,
        replicates=[
            path
            for name in CLAIMS["replicates"]
            for path in of_experiment("claims.replicates", name, "effects")
        ],
    output:
        effects=table("effects"),
        claims=table("claims"),
    log:
        f"{R}/logs/claims.log",
    benchmark:
        f"{R}/benchmarks/claims.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        large_lr=CURVES["large_lr"],
        stage=STAGE["claims"],
    script:
        "../scripts/claims.py"

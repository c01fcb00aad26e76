# The paper's claims, judged by rules fixed in scripts/soups/claims.py.

CLAIMS = config["claims"]
CURVE_TABLES = [*ON_CURVE, *PAIRS]
EVIDENCE = [*TABLES, "models", *CURVE_TABLES, *(["rejection"] if LARGE else [])]


def of_experiment(key, name, *tables):
    """Tables of another experiment, which has to have been run before."""
    paths = [f"results/{name}/tables/{table}.csv" for table in tables]
    if missing := [path for path in paths if not Path(path).is_file()]:
        raise UserError(f"{key} has {name!r}: no {missing[0]}, expected a finished experiment")
    return paths


WEAKER = []
if CLAIMS["weaker"]:
    WEAKER = of_experiment("claims.weaker", CLAIMS["weaker"], "methods", "significance")


rule claims:
    input:
        tables=expand(f"{R}/tables/{{table}}.csv", table=list(dict.fromkeys(EVIDENCE))),
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

"""Draw one set of the procedural world."""

from soups.data import prepared
from soups.jobs.job import run
from soups.world.sets import draw_set, set_mapping


def main(job) -> None:
    world, name = job.params.world, job.params.set
    pixels, labels, styles = draw_set(name, job.params.number, world["seed"], world["variants"])
    names = [f"{style}/{i:06d}" for i, style in enumerate(styles)]
    prepared.write_set(job.output[0], pixels, labels, set_mapping(name), names)


if __name__ == "__main__":
    run(main, snakemake)

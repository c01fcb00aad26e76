"""Draw shift `a`: images of hard scenes that a small reference network misclassifies."""

from soups.data.prepared import PreparedSet, write_set
from soups.jobs.job import run
from soups.world.adversarial import draw_adversarial


def main(job) -> None:
    count, train = job.params.number, PreparedSet(job.input.train)
    pixels, labels, mapping = draw_adversarial(train, count, job.params.world)
    names = [f"photo/{i:06d}" for i in range(count)]
    write_set(job.output[0], pixels, labels, mapping, names)


if __name__ == "__main__":
    run(main, snakemake)

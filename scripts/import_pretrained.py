"""Import a pre-trained model: of this workflow, or by a tag, an address, a file or a folder."""

from soups import files, problems
from soups.errors import UserError
from soups.jobs.job import log, run
from soups.models.architectures import header
from soups.models.finite import check_finite
from soups.models.pretrained import Pretrained, bring_in


def main(job) -> None:
    source, architecture = job.params.source, job.params.architecture
    problem = problems.of(job.config)
    ours = bool(source) and source.endswith(".safetensors") and "architecture" in header(source)
    if ours:
        model = Pretrained.load(source)
        if model.problem is not problem:
            raise UserError(
                f"model.pretrained is {source!r}, a model of {model.problem.examples}, expected a "
                f"model of {problem.examples} for this data.source"
            )
    else:
        settings = job.params.get("settings", {})
        kind = job.params.get("weights", "plain")
        model = bring_in(architecture, source, kind, problem, **settings)
    if source:
        check_finite(model.whole.state_dict(), source)
    problem.check_import(model, job.params, ours)
    if ours:
        files.copy(source, job.output[0])  # keeps the hash and the note on how it was made
    else:
        # A model for ready-made ingredients has no source. Its file has no weights.
        model.save(job.output[0], {"source": source}, weights=source is not None)
    log.info("the pre-trained model comes from %s", source)


if __name__ == "__main__":
    run(main, snakemake)

"""The figures: one row for each, with its caption.

A figure is a row here and a function of the same name in `report.figures`, which draws it from
CSV tables alone. The rules, the report, its order and the tests derive from the row. A figure is
drawn if the run makes the tables it needs. This module is imported while the workflow is parsed,
so it does not import the functions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from soups.report.words import USUAL, Words
from soups.roles import PLAIN


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: name of the figure's files and of its function.
        caption: caption for the report. It says what the figure shows and what to compare. The
            plan replaces the placeholders ``{accuracy}`` and ``{images}``, see
            `Words.placeholders`.
        tables: argument of the function to the name of its table. A run without one of these
            tables does not draw the figure.
        any_of: the same for tables of which the run has to make at least one.
        role: the figure is drawn only if ``compare_with`` names a row with this role.
        by_rates: whether the figure shows learning rates, which may be unknown for ready-made
            models. It is then left out.
        script: script of the rule that draws the figure. The contact sheet has a script of its
            own, because it shows images.
    """

    name: str
    caption: str
    tables: Mapping[str, str]
    any_of: Mapping[str, str] = field(default_factory=dict)
    role: str | None = None
    by_rates: bool = False
    script: str = "plot"

    def inputs(self, tables: Iterable[str]) -> dict[str, str] | None:
        """Argument to table, for a run with some tables; None if they are not enough."""
        tables = set(tables)
        some = {key: table for key, table in self.any_of.items() if table in tables}
        if not tables.issuperset(self.tables.values()) or (self.any_of and not some):
            return None
        return {**self.tables, **some}


def drawn(tables: Iterable[str], roles: Iterable[str], words: Words = USUAL) -> dict[str, Figure]:
    """The figures of a run, by name, in the order of the report.

    Args:
        tables: names of the tables that the run makes.
        roles: roles of the reference rows.
        words: for captions.
    """
    tables, roles = set(tables), {None, *roles}
    return {
        figure.name: replace(figure, caption=words.caption(figure.name, figure.caption))
        for figure in FIGURES
        if figure.inputs(tables) is not None and figure.role in roles
    }


FIGURES = [
    Figure(
        "doctor",
        "The examination of the models before any soup. Left: a map around their start, or "
        "around their mean if the start is unknown. Every model lies in its own plane with the "
        "start and the best model, folded onto the page, so its distances to both are true. "
        "Models more than three times as far away as the median stand at that distance, with an "
        "arrow. Right: the barrier of each model to the best one on held-out {images}, with 95% "
        "paired bootstrap intervals. A barrier is the largest drop of accuracy below the "
        "straight line between the two models (at α = 0.25, 0.5 or 0.75). It counts if the "
        "interval lies beyond the dashed line, at two points. Models with a verdict other than "
        "fine have a mark of their own. Rings mark models of a further cluster, which have a "
        "barrier to the best model and none among themselves. Look for red lines, and for models "
        "far from the others.",
        {"doctor": "doctor"},
    ),
    Figure(
        "reproduction",
        "{Accuracies} of the released checkpoints in this run against the published ones. On "
        "the line, the two are equal. The right panel shows the differences on every set, "
        "with a point per model. The greedy soup is selected again in this run, so it may "
        "hold other models than the published one.",
        {"compared": "reproduction"},
    ),
    Figure(
        "scatter",
        "Test {accuracy} against the {mean_accuracy} over the shifts (the paper's figure 1). "
        "Grey points are the fine-tuned models of the sweep. The marks are the best of them "
        "on the held-out set, the two starting points, and the uniform and greedy soups. "
        "Bars are 95% bootstrap intervals over {images}. Compare the soups with the best "
        "individual model on both axes.",
        {"models": "models", "methods": "methods"},
    ),
    Figure(
        "methods",
        "Every method on the test set and on the mean of the shifts, with 95% bootstrap "
        "intervals over {images}. For greedy soups in random order, the mean over orders is "
        "shown. The vertical line is the model that is best on the held-out set. Filled "
        "marks need one model at inference, and hollow marks are ensembles of several. "
        "Compare the intervals with the line. The paired tests in significance.csv detect "
        "smaller differences than intervals side by side.",
        {"methods": "methods"},
    ),
    Figure(
        "shifts",
        "Test {accuracy} against the {accuracy} under each shift, with a panel per shift. "
        "Compare the soups with the cloud of fine-tuned models in each panel.",
        {"models": "models", "methods": "methods"},
    ),
    Figure(
        "sweep",
        "The sweep: test {accuracy} and {mean_accuracy} over the shifts of every fine-tuned "
        "model, against each hyperparameter that varies. All hyperparameters vary at once, "
        "so a panel shows a tendency and not an effect. Compare the ingredients of the "
        "greedy soup with the other models.",
        {"models": "models", "methods": "methods"},
    ),
    Figure(
        "greedy_trace",
        "The greedy soup, step by step. Candidates come in order of their own held-out "
        "{accuracy}. Each point is the held-out {accuracy} of the soup with that candidate, and "
        "its mark says whether the candidate was added. A triangle that points down is a bound: "
        "the {accuracy} is at most this value, which is less than that of the soup so far, so "
        "the rest of the held-out set was not evaluated. The line is the {accuracy} of the "
        "soup so far. A candidate is added if the soup is at least as good with it, so the "
        "soup is never worse on the held-out set than its first model.",
        {"trace": "greedy_trace", "methods": "methods"},
    ),
    Figure(
        "landscape",
        "The plane through the start (θ₀) and two models fine-tuned from it (θ₁ and θ₂), "
        "for a small, a medium and a large learning rate. By default, the two models differ "
        "only in their seed. The upper row shows the loss on a part of the held-out set, "
        "and the lower row {the_error} on a part of the test set (n is beside the axes). "
        "Every point of the grid is a recipe, mixed and evaluated. Brighter is better, and "
        "contour levels are quantiles of each panel. All points share their {images}, so "
        "shapes are more certain than heights{if accuracy: (the standard error of an error is "
        "about 2.7 points for n = 300)}. Compare the average with the two models, and see "
        "whether a ridge separates them.",
        {"points": "landscape"},
    ),
    Figure(
        "paths",
        "Test {accuracy} along straight lines in weight space, (1 − α) θ₁ + α θ₂, between "
        "models that differ in only one hyperparameter. The barrier is the largest "
        "drop of the curve below the straight line between its ends (0 without a drop). "
        "{Accuracies} are on a random part of the test set (n is in the label).{if accuracy: The "
        "standard error of one accuracy is about 1.5 points for n = 1,000.} Differences have a "
        "smaller error, because all points share their {images}. Compare the middle of each "
        "line with its ends, for usual and for large learning rates.",
        {"paths": "paths"},
        by_rates=True,
    ),
    Figure(
        "angles",
        "The gain of averaging two models, against the angle between their directions from "
        "the start (the paper's figure 3). The gain is the {accuracy} of the average minus "
        "the {mean_accuracy} of the two models. The points are pairs of the sweep's models "
        "and pairs that differ in one hyperparameter, without large learning rates, on a "
        "random part of the test set. The interval of the rank correlation resamples models "
        "and {images}. Noise from the {images} pulls the correlation towards 0. A trend upwards "
        "to the right means that the average gains more if its models are further apart.",
        {"effects": "effects"},
        any_of={"pairs": "pairs", "paths": "paths"},
        by_rates=True,
    ),
    Figure(
        "soup_vs_ensemble",
        "{Accuracy} of the average of two models' weights against that of the average of "
        "their logits, with a point per pair. {Accuracies} are on a random part of every set "
        "(n is in the labels). The colour is the learning rate. Compare the points with the "
        "line of equal {accuracy}, for small and for large learning rates.",
        {},
        any_of={"pairs": "pairs", "paths": "paths"},
        by_rates=True,
    ),
    Figure(
        "loss_gap",
        "Loss of the soup minus loss of the ensemble of two models along paths (all inner "
        "α), against the paper's approximation. The approximation uses the curvature of the "
        "soup's loss along the path and the variance of the difference of logits. Losses "
        "are taken after the soup is calibrated by β, which is fitted on the held-out set "
        "at each point. The second derivative is a central difference between recipes one "
        "step of the path apart (1/6 by default). A point is filled if a step twice as long "
        "gives a second derivative within half of that value (curvature_wide in paths.csv). "
        "Otherwise, or if the path is too short on one side, the point is hollow. On the "
        "grey line, approximation and true gap are equal. Compare the points with that "
        "line. The sign and the order matter most.",
        {"paths": "paths"},
    ),
    Figure(
        "number_of_models",
        "Soups and ensembles of the first n models of the sweep, on a random part of every "
        "set (n is in the axis labels). Lines are means over several orders: the first is "
        "the order of the sweep, and the others are random. Bands are ± one standard "
        "deviation over orders, without the error from the {images}. The last point "
        "holds the same models in every order and still has the standard error of its "
        "{images}{if accuracy: (about 1.4 points for n = 1,000)}. The best individual model is "
        "the best of those n on the held-out set. Compare how the methods grow with the number "
        "of models.",
        {"curve": "number_of_models"},
    ),
    Figure(
        "slices",
        "Soups of models that differ in only one hyperparameter: the uniform and the greedy "
        "soup minus the best of these models on the held-out set. The models with EMA or SWA "
        "differ in several. {Accuracies} are on all "
        "test {images} and on the mean of all shifts, with 95% paired bootstrap intervals "
        "over {images}. Look for hyperparameters that give a gain by themselves.",
        {"curve": "slices"},
    ),
    Figure(
        "large_lr",
        "Left: soups of the sweep's models, to which models with a large learning rate are "
        "added one by one. Their {accuracy} is on a random part of the test set, with 95% "
        "bootstrap intervals. Right: how far each of these models has moved from the start, "
        "and which of them the greedy soup takes. Compare the uniform soup with the greedy "
        "one as bad models are added.",
        {"curve": "large_lr", "rejection": "rejection"},
    ),
    Figure(
        "reliability",
        "Left: accuracy against the confidence of the predicted class on the test set, in "
        "15 bins of equal width. Above the grey line a model is underconfident, and below "
        "it overconfident. Right: the expected calibration error (ECE) of the best "
        "individual model minus that of each method. The plain ECE stands beside each name. "
        "Both are compared after the error that noise alone adds is subtracted, with 95% "
        "paired bootstrap intervals. All values are before any temperature is fitted. "
        "Compare the soups and the ensembles with the line of the best individual model.",
        {"bins": "reliability", "calibration": "calibration"},
    ),
    Figure(
        "wise_ft",
        "Lines through weight space (WiSE-FT), from the start of fine-tuning (α = 0) to the "
        "best individual model and to soups (α = 1, large marks), and a little beyond. "
        "{Accuracies} are on a random part of every set (n is in the axis labels). Compare "
        "the lines of the soups with the line of the single model.",
        {"curve": "wise_ft"},
    ),
    Figure(
        "averaging",
        "{Accuracy} of several soups minus that of the uniform soup of the first six models "
        "trained as usual. Most of these soups hold models that were trained in another way: "
        "averaged along training (EMA, SWA), with SAM, and others. The distilled model, the "
        "greedy soup and the ensemble of the whole sweep stand beside them. Bars are 95% "
        "paired bootstrap intervals over {images}. Compare each soup that mixes models "
        "with and without a technique with the two soups that do not.",
        {"significance": "significance"},
        role=PLAIN,
    ),
    Figure(
        "tasks",
        "Zero-shot {accuracy} on the classes of a task that no ingredient was fine-tuned on. "
        "Predictions are among these classes alone, and all their test {images} are used (n "
        "is in the label). The dashed line is the pre-trained model. Grey points are "
        "averages of models fine-tuned on other tasks, under the same frozen head made of "
        "class names, with a point for every choice of tasks. Bars are 95% paired bootstrap "
        "intervals of the difference from the dashed line. The orange line is the mean of "
        "the grey points. Compare averages of more tasks with the dashed line.",
        {"curve": "tasks"},
    ),
    Figure(
        "pretraining",
        "The same sweep from the usual pre-trained model and from one that was trained on "
        "fewer {images}, with 95% bootstrap intervals over {images}. Compare the gains of the "
        "soups from the two models.",
        {"methods": "methods", "weaker": "weaker_methods"},
    ),
    Figure(
        "forest",
        "All claims at a glance: the effect that decides each claim, with its 95% interval, in "
        "units of the claim's margin. The grey band is the margin on either side of 0, within "
        "which an effect counts as no difference. An effect to the right supports the claim. The "
        "colour and the mark show the verdict. Large marks are this run, and small hollow marks "
        "below them are the recorded evidence over many runs. The numbers on the right are in "
        "points, correlations or slopes. For a ratio that should be 1, the "
        "axis is the logarithm to the base of the margin, so the band is what supports the claim. "
        "For a claim that nothing is lost, the left edge of the band is the bar. The axis is "
        "linear between −2 and 2 and logarithmic beyond. The mark of a claim with several tests is "
        "that of the test which is furthest from being supported.",
        {"claims": "claims"},
    ),
    Figure(
        "contact_sheet",
        "One example of every class (rows, at most 24) in the test set and every shift "
        "(columns). A cell is white if the shift does not contain the class, or if several "
        "classes share one class of the shift.",
        {},
        script="contact_sheet",
    ),
]

# Tables of the paper's released results. Each is a function of the same name in `claims.published`.
PUBLISHED_TABLES = (
    "models", "methods", "differences", "greedy_order", "rank_correlations", "pipelines",
)  # fmt: skip

# Figures of the paper's released results, which have a folder of their own.
PUBLISHED = [
    Figure(
        "published_scatter",
        "The paper's figure 1, from its released results: ImageNet accuracy against the "
        "mean over five distribution shifts. Grey points are 71 models fine-tuned from one "
        "CLIP ViT-B/32. The marks are the best of them on the held-out set, the linear probe "
        "they start from, the uniform soup of all 72, and the greedy soup. Bars are 95% "
        "binomial intervals. Compare the greedy soup with the single models on both axes.",
        {"models": "models", "methods": "methods"},
    ),
    Figure(
        "published_shifts",
        "The paper's released models and soups: ImageNet accuracy against the accuracy "
        "under each shift, with a panel per shift. On ImageNet-V2 the two accuracies rise "
        "together. On the other shifts, a model that is better on ImageNet need not be "
        "better. Compare the soups with the cloud of single models in each panel.",
        {"models": "models", "methods": "methods"},
    ),
    Figure(
        "published_sweep",
        "The paper's released sweep: ImageNet accuracy and mean accuracy over five shifts "
        "of 71 fine-tuned models, against each hyperparameter. The colour is the learning "
        "rate. ρ is Spearman's rank correlation, and rank_correlations.csv has its "
        'intervals. Models without RandAugment are drawn at "off" and are not counted in '
        "its ρ. All hyperparameters vary at once, so a panel shows a tendency and not an "
        "effect. Under shift, a large learning rate costs much accuracy. On ImageNet a "
        "medium learning rate is best, which a rank correlation cannot show.",
        {"models": "models", "correlations": "rank_correlations", "methods": "methods"},
    ),
    Figure(
        "published_greedy_order",
        "The 72 released models in the order in which the greedy soup tries them, by "
        "falling held-out accuracy. The panels show their accuracy on the held-out set, on "
        "ImageNet and under shift, and the lines are the two soups. ρ is Spearman's rank "
        "correlation with held-out accuracy, with a 95% bootstrap interval over models. The "
        "rank on the held-out set predicts the ImageNet accuracy, but says little about the "
        "mean of the shifts. Squares mark the five models that the greedy soup kept, "
        "which it added from left to right.",
        {"order": "greedy_order", "correlations": "rank_correlations", "methods": "methods"},
    ),
]
PREFIX = "published_"
PUBLISHED_FIGURES = {figure.name.removeprefix(PREFIX): figure for figure in PUBLISHED}


def published_inputs(name: str, folder: str) -> dict[str, str]:
    """Argument to the file of its table, for a figure of the published results.

    Args:
        name: name of the figure without `PREFIX`.
        folder: folder of the published results.
    """
    tables = PUBLISHED_FIGURES[name].tables
    return {key: f"{folder}/tables/{table}.csv" for key, table in tables.items()}

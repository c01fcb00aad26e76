"""The doctor finds planted clusters of models, and none where there is one or a lone model."""

import copy
import re
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from soups.doctor import clusters, thresholds, verdicts
from soups.doctor.cluster_sentences import sentence
from soups.doctor.clusters import MAIN
from soups.doctor.evidence import Evidence
from soups.doctor.examination import Examination
from soups.doctor.lines import Barrier
from soups.doctor.summary import summarise
from soups.experiment.variants import pool
from soups.models.forward import forward
from soups.outcomes import CLUSTERS, FINE, TODO
from tests.unit.clinic import EARLIER, HELDOUT, Clinic, changed, fresh, trained


@pytest.fixture(scope="module")
def clinic(tmp_path_factory) -> Clinic:
    """Three models of cluster a, two of cluster b, and a lone model c, all from one start.

    The centres parted early in training with a large learning rate.
    """
    early = trained(fresh("test_vit"), 5, 1e-3, 0, EARLIER)
    a, b, c = (trained(early, 100, 2e-3, seed) for seed in range(3))
    clinic = Clinic(tmp_path_factory.mktemp("clusters"), "test_vit", early)
    clinic.healthy = {f"a{i}": trained(a, 15, 5e-4, i) for i in range(3)}
    clinic.healthy |= {f"b{i}": trained(b, 15, 5e-4, i) for i in range(2)} | {"c": c}
    return clinic


def verdicts_of(found: Examination) -> dict[str, str]:
    return {v.model: v.verdict for v in found.verdicts}


def members(found: Examination) -> set[frozenset[str]]:
    return {frozenset(names) for names in found.clusters.groups.values()}


def accuracy(*models) -> float:
    """Of the mean of some models, computed apart from the doctor."""
    mixed, states = copy.deepcopy(models[0]), [model.state_dict() for model in models]
    mixed.load_state_dict({n: sum(s[n] for s in states) / len(states) for n in states[0]})
    return float((forward(mixed, HELDOUT[0], exact=True).numpy().argmax(1) == HELDOUT[1]).mean())


@pytest.mark.parametrize("known", [True, False], ids=["start known", "start unknown"])
def test_two_clusters_and_a_lone_model(clinic, known):
    models = clinic.healthy
    found = clinic.examine(models, clinic.start if known else None)
    assert members(found) == {frozenset(("a0", "a1", "a2")), frozenset(("b0", "b1"))}
    main = found.clusters.groups[MAIN]
    elsewhere = set(models) - {*main, "c"}
    assert verdicts_of(found) == {"c": verdicts.LEFT_BASIN} | {
        name: FINE if name in main else verdicts.OTHER_CLUSTER for name in (*main, *elsewhere)
    }
    rows = {v.model: v.row() for v in found.verdicts}
    assert {n: row["cluster"] for n, row in rows.items()} == {"c": None} | {
        name: 1 if name in main else 2 for name in (*main, *elsewhere)
    }
    for name in elsewhere:
        partner = rows[name]["partner"]
        ends = (accuracy(models[name]) + accuracy(models[partner])) / 2
        middle = accuracy(models[name], models[partner])
        assert rows[name]["partner_barrier"] == pytest.approx(ends - middle, abs=1e-5)
        assert f"cluster of {len(elsewhere)} models" in rows[name]["reason"]
        assert f"average with {partner} at α = 0.5 has {100 * middle:.1f}%" in rows[name]["reason"]
        both = [f"{100 * accuracy(models[n]):.1f}%" for n in (name, partner)]
        assert f"their accuracies of {both[0]} and {both[1]}" in rows[name]["reason"]


def test_the_summary_counts_clusters_and_compares_their_soups(clinic):
    found = clinic.examine(clinic.healthy)
    [text] = [row["text"] for row in summarise(found) if row["about"] == CLUSTERS]
    assert text.startswith("The usable models form 2 clusters: cluster 1 has ")
    assert "1 model (c) is in none." in text
    left = len(found.clusters.left)
    assert f"5 lines to {found.clusters.groups[MAIN][0]}, and at {left * (left - 1) // 2} " in text
    ours, theirs = (
        accuracy(*(clinic.healthy[name] for name in found.clusters.groups[n])) for n in (2, 1)
    )
    assert f"The uniform soup of cluster 2 has {100 * ours:.1f}% on 300 held-out images" in text
    assert f"{verdicts.apart(theirs - ours)} that of cluster 1 (95% interval" in text


def test_the_advice_is_a_row_of_the_configuration_that_selects_the_cluster(clinic):
    found = clinic.examine(clinic.healthy)
    names = found.clusters.groups[2]
    [text] = [r["text"] for r in summarise(found) if r["about"] == TODO and "cluster" in r["text"]]
    assert "leave them out of soups with" in text
    assert "a soup of their cluster alone" in text
    [row] = yaml.safe_load(re.search(r"Add (cluster_2: \{.*\}) to soups", text)[1]).values()
    assert row["method"] == "uniform"
    models = list(clinic.healthy)
    rows = {name: {} for name in models}
    origin = {name: (name, "base") for name in models}
    assert set(pool(rows, origin, ["base"], row["query"], "soups.cluster_2")) == set(names)


def test_models_of_one_cluster(clinic):
    found = clinic.examine({n: m for n, m in clinic.healthy.items() if n.startswith("a")})
    best = found.clusters.groups[MAIN][0]
    assert sentence(found) == f"All 3 usable models are in one cluster, by 2 lines to {best}."
    assert {v.row()["cluster"] for v in found.verdicts} == {1}
    assert found.clusters.midpoints == {}


def test_a_lone_model_and_its_copy_are_no_cluster(clinic):
    models = {n: m for n, m in clinic.healthy.items() if not n.startswith("b")}
    models["copy"] = changed(models["c"], lambda t: t.half().float())
    found = clinic.examine(models, clinic.start)
    assert list(found.clusters.groups) == [MAIN]
    assert verdicts_of(found)["c"] == verdicts_of(found)["copy"] == verdicts.LEFT_BASIN
    assert "Of 5 usable models, one cluster has 3 models (" in sentence(found)
    assert "2 models (c, copy) are in none." in sentence(found)


def test_models_of_another_initialisation_are_told_that_they_form_a_cluster(clinic):
    other = trained(fresh("test_vit", 9), 80, 1e-3, 9)
    models = {n: m for n, m in clinic.healthy.items() if n.startswith("a")}
    models |= {f"s{i}": trained(other, 15, 5e-4, i) for i in range(2)}
    found = clinic.examine(models)
    assert members(found) == {frozenset(("a0", "a1", "a2")), frozenset(("s0", "s1"))}
    for verdict in found.verdicts[3:]:
        assert verdict.verdict == verdicts.OTHER_INITIALISATION
        assert "almost orthogonal" in verdict.reason
        assert "another cluster of 2 models, cluster 2" in verdict.reason
        assert "fine-tune it again from the start of the others. Add cluster_2" in verdict.advice


class Planted:
    """Lines whose midpoints have no barrier within the given groups, and one of 0.2 outside."""

    def __init__(self, *groups: str) -> None:
        self.groups, self.looked = groups, []

    def midpoint(self, one: str, two: str) -> Barrier:
        self.looked.append((one, two))
        drop = 0.0 if any(one in group and two in group for group in self.groups) else 0.2
        return Barrier(0.5, 0.8 - drop, (0.8, 0.8), drop, drop - 0.01, drop + 0.01)

    def soup(self, coefficients) -> np.ndarray:
        return np.ones(4, bool)


def planted(lines: Planted, main: str, left: str) -> clusters.Clusters:
    """The clusters of models with one letter as their names, the best first."""
    tables = {name: Evidence(name, 0.8, 100, 0.1) for name in main + left}
    for name in (main + left)[1:]:
        tables[name].barrier = Planted(main).midpoint(main[0], name)
    distances = {a: {b: abs(ord(a) - ord(b)) for b in tables} for a in tables}
    return clusters.find(lines, tables, list(tables), main[0], distances)


def test_pairs_of_the_best_ten_models_are_looked_at():
    lines = Planted("ABCDE", "FGHIJKLMN")
    found = planted(lines, "Z", "ABCDEFGHIJKLMN")
    assert len(lines.looked) == 45 == len(found.midpoints) // 2
    assert thresholds.PAIRED == 10
    assert found.examined == list("ABCDEFGHIJ")
    assert found.groups == {1: ["Z"], 2: list("ABCDE"), 3: list("FGHIJ")}
    usable = [verdicts.Verdict(n, FINE, "", "", object()) for n in "ZABCDEFGHIJKLMN"]
    text = sentence(Examination(usable, "Z", lines, clusters=found))
    assert "14 lines to Z, and at 45 midpoints between the best 10 of 14 models with" in text
    assert "3 clusters: cluster 1 has 1 model (Z), cluster 2 has 5 models (A, B, C, D, E)" in text


def test_a_group_that_touches_the_main_cluster_is_no_cluster_of_its_own():
    lines = Planted("YABC", "DE")
    found = planted(lines, "ZYX", "ABCDE")
    # Distances are those of letters, so X is nearest to all of A to E.
    assert found.groups == {1: list("ZYX"), 2: list("ABC"), 3: list("DE")}
    found = planted(Planted("XABC", "DE"), "ZYX", "ABCDE")
    assert found.groups == {1: list("ZYX"), 2: list("DE")}
    assert found.bridges == dict.fromkeys("ABC", "X")
    usable = [SimpleNamespace(model=name, evidence=True) for name in "ZYXABCDE"]
    text = sentence(Examination(usable, "Z", lines, clusters=found))
    assert "A has a barrier to Z, but none to X." in text
    assert "3 models (A, B, C) are in none." in text


def test_clusters_are_numbered_by_size():
    found = planted(Planted("AB", "CDE"), "Z", "ABCDEF")
    assert found.groups == {1: ["Z"], 2: list("CDE"), 3: list("AB")}

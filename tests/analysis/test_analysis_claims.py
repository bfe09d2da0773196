"""Claims: rules against worked examples, verdicts against planted and null effects, files of claims."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from sparsweep.analysis.claims import ClaimError, as_json, evaluate, format_verdicts, paper_claims, read_claims
from sparsweep.analysis.claims.loader import parse
from sparsweep.analysis.claims.rules import Expectation
from sparsweep.analysis.filters import TrialFilter
from sparsweep.analysis.results import Results
from sparsweep.trainables.storage import schemas
from support.synthetic_tables import CORRUPTED, GAINS, make_layers, make_row, make_sweep


def trials_of(rows):
    return schemas.build_table("trials", rows).to_pandas()


def claims_of(*parts, **fields):
    """A claim of some parts; by default a part says that SET is better than dense."""
    usual = {"says": "better", "rule": "difference", "methods": ["set"], "expect": {"above": 0}}
    claim = {"claim": "mine", "statement": "s", "source": "here", "parts": [{**usual, **part} for part in parts]}
    return parse(json.dumps([{**claim, **fields}]), "test")


def claim_of(**part):
    return claims_of(part)


def judge(rows, **part):
    """The verdict on a claim of one part, and its first finding."""
    results = rows if isinstance(rows, Results) else trials_of(rows)
    [verdict] = evaluate(results, claim_of(**part))
    return verdict, verdict.findings[0]


def arms(gains, sparsity=0.5, method="set", dense=(0.5, 0.52, 0.54), **changes):
    """Dense and one method that gains ``gains`` over it, seed by seed."""
    rows = [make_row("dense", 0.0, seed, dense[seed], **changes) for seed in range(len(gains))]
    return rows + [make_row(method, sparsity, seed, dense[seed] + gain, **changes) for seed, gain in enumerate(gains)]


def sparse(*rows):
    return [row for part in rows for row in part if row["sparsifier"] != "dense"]


# Rules ---------------------------------------------------------------------------------------------------------------


def test_difference_by_hand():
    verdict, finding = judge(arms((0.01, 0.02, 0.03)))
    assert (finding.n, finding.effect) == (3, pytest.approx(0.02))
    # Student's t at .975 with two degrees of freedom times .01 / sqrt(3).
    assert finding.low == pytest.approx(0.02 - 4.302653 * 0.01 / math.sqrt(3), abs=1e-8)
    assert finding.verdict == verdict.verdict == "undecided"
    assert verdict.data == "cifar100 / resnet18"


def test_arms_of_a_method_are_averaged_within_the_seed():
    rows = arms((0.01, 0.02, 0.03)) + sparse(arms((0.03, 0.02, 0.01), sparsity=0.9))
    _, finding = judge(rows)
    assert (finding.effect, finding.arms, finding.n) == (pytest.approx(0.02), 2, 3)
    assert finding.low == pytest.approx(0.02)  # each seed's mean is .02


def test_only_arms_that_all_seeds_have_count():
    rows = arms((0.01, 0.02, 0.03)) + sparse(arms((0.03, 0.04, 0.05), sparsity=0.8), arms((0.5, 0.5), sparsity=0.9))
    _, finding = judge(rows)  # six values either way: the more seeds
    assert (finding.effect, finding.arms, finding.n) == (pytest.approx(0.03), 2, 3)


def test_an_arm_with_more_seeds_does_not_speak_for_the_others():
    """Two arms of two seeds and one of three: six values of all three arms, not three of one."""
    rows = arms((0.01, 0.02, 0.09))
    rows += sparse(arms((0.03, 0.02), sparsity=0.8), arms((0.05, 0.08), sparsity=0.9))
    _, finding = judge(rows)
    assert (finding.effect, finding.arms, finding.n) == (pytest.approx((0.09 + 0.12) / 6), 3, 2)


def test_one_seed_of_many_arms_does_not_hide_an_arm_that_can_be_judged():
    rows = arms((0.01, 0.02)) + sparse(*(arms((0.5,), sparsity=s) for s in (0.6, 0.7, 0.8, 0.9)))
    _, finding = judge(rows)
    assert (finding.effect, finding.arms, finding.n) == (pytest.approx(0.015), 1, 2)


def test_a_seed_without_any_common_arm_is_left_out():
    rows = [*arms((0.01, 0.02)), make_row("dense", 0.0, 7, 0.5), make_row("set", 0.9, 7, 0.9)]
    _, finding = judge(rows)
    assert (finding.effect, finding.n) == (pytest.approx(0.015), 2)


@pytest.mark.parametrize(("over", "effect"), [("mean", 0.03), ("median", 0.01)])
def test_methods_are_taken_together_as_the_rule_says(over, effect):
    rows = arms((0.01, 0.01)) + sparse(arms((0.08, 0.08), method="omp"), arms((0.0, 0.0), method="lth"))
    _, finding = judge(rows, methods=["set", "omp", "lth"], over_methods=over)
    assert finding.effect == pytest.approx(effect)


def test_each_method_must_do_what_is_said():
    rows = arms((0.05, 0.051, 0.052)) + sparse(arms((-0.05, -0.051, -0.052), method="snip"))
    [verdict] = evaluate(trials_of(rows), claim_of(methods=["set", "snip"], over_methods="each"))
    assert [(f.part.methods, f.verdict) for f in verdict.findings] == [
        (("set",), "supported"),
        (("snip",), "contradicted"),
    ]
    assert verdict.verdict == "contradicted" and verdict.deciding is verdict.findings[1]


def test_a_method_is_compared_with_others_at_its_sparsity_and_seed():
    rows = arms((0.04, 0.05), method="lth") + sparse(arms((0.01, 0.01), method="omp"), arms((0.03, 0.03), method="gmp"))
    rows += sparse(arms((0.9, 0.9), method="omp", sparsity=0.9))
    _, finding = judge(rows, methods=["lth"], to=["omp", "gmp"])
    assert (finding.effect, finding.n, finding.arms) == (pytest.approx(0.025), 2, 1)


def test_change_is_the_difference_of_two_gains():
    rows = arms((0.01, 0.02)) + sparse(arms((0.05, 0.08), sparsity=0.9))
    part = {"rule": "change", "where": {"sparsity": [0.8, 1]}, "instead": {"sparsity": 0.5}}
    _, finding = judge(rows, **part)
    assert finding.effect == pytest.approx((0.04 + 0.06) / 2)
    rows = arms((0.01, 0.02), **CORRUPTED) + arms((0.05, 0.05))
    _, finding = judge(rows, rule="change", where={"difficulty": "el2n"}, instead={"difficulty": "corruption"})
    assert finding.effect == pytest.approx(0.035)


def test_ratio_is_the_share_by_which_it_is_more():
    rows = [make_row("dense", 0.0, s, 0.5, train_flops=10.0, prerequisite_flops=0.0) for s in (0, 1)]
    rows += [make_row("omp", 0.5, s, 0.5, train_flops=5.0, prerequisite_flops=10.0) for s in (0, 1)]
    verdict, finding = judge(rows, rule="ratio", value="total_flops", methods=["omp"])
    assert (finding.effect, finding.low, finding.unit) == (pytest.approx(0.5), pytest.approx(0.5), "ratio")
    assert verdict.verdict == "supported"  # costs of two seeds are equal, and that is no chance
    assert "omp: better: supported, +50.0 % [+50.0, +50.0], n = 2" in "\n".join(format_verdicts([verdict]))


def test_level_is_the_value_itself():
    rows = make_sweep(("set", "lth"), sparsities=(0.8,), ratios=(0.3,))
    layers = schemas.build_table("layers", [layer for row in rows for layer in make_layers(row)]).to_pandas()
    results = Results(trials_of(rows), layers)
    _, tilted = judge(results, rule="level", value="depth_contrast")
    _, even = judge(results, rule="level", value="depth_contrast", methods=["lth"])
    assert tilted.effect == pytest.approx(8 * even.effect)  # the tilt that was planted: .8 and .1
    _, finding = judge(results, value="depth_contrast", to=["lth"])
    assert finding.effect == pytest.approx(tilted.effect - even.effect)


def test_flops_of_unknown_prerequisites_are_not_tested():
    rows = [make_row(method, s, 0, 0.5, train_flops=1.0) for method, s in (("dense", 0.0), ("set", 0.5))]
    assert judge(rows, rule="ratio", value="total_flops")[0].verdict == "not tested"


# Verdicts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expect", "low", "high", "verdict"),
    [
        ({"above": 0}, 0.1, 0.2, "supported"),
        ({"above": 0}, -0.1, 0.2, "undecided"),
        ({"above": 0}, -0.2, -0.1, "contradicted"),
        ({"above": 0.15}, 0.1, 0.2, "undecided"),
        ({"below": 0}, -0.2, -0.1, "supported"),
        ({"below": -0.15}, -0.2, -0.1, "undecided"),
        ({"below": 0}, 0.1, 0.2, "contradicted"),
        ({"within": 0.3}, -0.1, 0.2, "supported"),
        ({"within": 0.15}, -0.1, 0.2, "undecided"),
        ({"within": 0.05}, 0.1, 0.2, "contradicted"),
        ({"within": 0.05}, -0.2, -0.1, "contradicted"),
    ],
)
def test_the_interval_decides(expect, low, high, verdict):
    assert Expectation(**expect).judge(low, high) == verdict


@pytest.mark.parametrize(("mean", "bound"), [(0.2, 0.1), (0.02, 0.1), (-0.02, -0.1)])
def test_the_boundary_of_within_is_the_nearer_one(mean, bound):
    assert Expectation(within=0.1).bound(mean) == bound


def test_planted_effects_are_found():
    """In a sweep where SET gains, uniform loses and OMP does nothing, with little noise."""
    trials = trials_of(make_sweep(seeds=5, noise=0.002, ratios=(0.3,)))
    verdicts = {
        method: evaluate(trials, claim_of(methods=[method], expect={"above": 0.005}))[0].verdict for method in GAINS
    }
    assert verdicts["set"] == verdicts["snip"] == "supported"
    assert verdicts["lth"] == verdicts["uniform"] == verdicts["omp"] == "contradicted"


def test_null_effects_are_decided_as_seldom_as_the_level_says():
    generator = np.random.default_rng(5)
    decided = [judge(arms(generator.normal(0, 0.01, 3)))[0].verdict != "undecided" for _ in range(150)]
    assert np.mean(decided) < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 150)


def test_an_undecided_claim_says_how_many_seeds_would_decide():
    # Mean .01, deviation .01: Cohen's d of 1 needs 10 in all.
    verdict, finding = judge(arms((0.0, 0.01, 0.02)))
    assert (finding.verdict, finding.extra_seeds, verdict.further) == ("undecided", 7, 7)
    assert "about 7 more seeds would decide" in "\n".join(format_verdicts([verdict]))


def test_no_number_of_seeds_decides_what_lies_on_the_boundary():
    verdict, finding = judge(arms((-0.01, 0.0, 0.01)))
    assert finding.extra_seeds is None and "too near to the boundary" in finding.note
    assert verdict.further is None


def test_one_seed_is_undecided():
    verdict, finding = judge(arms((0.3,)))
    assert (verdict.verdict, finding.n, finding.extra_seeds) == ("undecided", 1, 1)
    assert math.isnan(finding.low) and "one seed: no interval" in finding.note


def test_equal_seeds_are_no_certainty():
    verdict, finding = judge(arms((0.3, 0.3)))
    assert verdict.verdict == "undecided" and "all seeds are equal" in finding.note


def test_without_dense_or_trials_a_claim_is_not_tested():
    rows = [row for row in arms((0.1, 0.2, 0.3)) if row["sparsifier"] != "dense"]
    for given in (rows, []):
        verdict, finding = judge(given)
        assert (verdict.verdict, verdict.data, verdict.deciding, finding.n) == ("not tested", None, None, 0)


def test_parts_that_are_not_tested_keep_a_claim_undecided():
    claims = claims_of({}, {"methods": ["rigl"]})
    [verdict] = evaluate(trials_of(arms((0.05, 0.051, 0.052))), claims)
    assert [finding.verdict for finding in verdict.findings] == ["supported", "not tested"]
    assert verdict.verdict == "undecided" and verdict.deciding.n == 3


def test_each_data_set_is_judged_by_itself():
    rows = arms((0.05, 0.051, 0.052)) + arms((-0.05, -0.051, -0.052), dataset="digits", model="resnet8")
    found = evaluate(trials_of(rows), claim_of())
    assert [(v.data, v.verdict) for v in found] == [
        ("cifar100 / resnet18", "supported"),
        ("digits / resnet8", "contradicted"),
    ]


def test_a_part_about_one_data_set_is_not_asked_of_others():
    claims = claims_of({}, {"where": {"dataset": "cifar10"}})
    [verdict] = evaluate(trials_of(arms((0.05, 0.051, 0.052))), claims)
    assert len(verdict.findings) == 1 and verdict.verdict == "supported"


def test_methods_that_were_not_run_are_named():
    _, finding = judge(arms((0.01, 0.02)), methods=["set", "rigl"])
    assert finding.note.startswith("without rigl")


def test_inputs_are_left_as_they_were():
    trials = trials_of(arms((0.1, 0.2)))
    before = trials.copy()
    evaluate(trials, claim_of())
    pd.testing.assert_frame_equal(trials, before)


# The paper's claims and files ----------------------------------------------------------------------------------------


def test_the_papers_eleven_claims_are_there():
    claims = paper_claims()
    assert len(claims) == 11
    assert all(claim.source and claim.data and claim.statement for claim in claims)


def test_a_severity_is_asked_of_difficulties_that_have_one():
    """EL2N, or corruption at 5: Figure 8."""
    here = [make_row("set", 0.8, 0, 0.5), make_row("set", 0.8, 0, 0.5, **CORRUPTED)]
    other = make_row("set", 0.8, 0, 0.5, difficulty="corruption", difficulty_parameters='{"severity": 2}')
    scope = TrialFilter(difficulty=("el2n", "corruption"), severity=5)
    assert scope.match(trials_of([*here, other])).tolist() == [True, True, False]
    assert str(scope) == "EL2N or corrupted (severity 5)"


def test_of_each_method_the_best_sparsities_count():
    """Means .51 to .55 of five sparsities: the best two are .54 and .55, in every comparison by itself."""
    rows = arms((0.01, 0.03), sparsity=0.1)
    for number, sparsity in enumerate((0.3, 0.5, 0.7, 0.9), start=2):
        rows += sparse(arms((0.01 * number, 0.01 * number + 0.02), sparsity=sparsity))
    _, finding = judge(rows, best=2)
    assert (finding.effect, finding.arms) == (pytest.approx(0.01 + 0.045), 2)
    # All arms of the other method are partners still.
    both = rows + sparse(*(arms((0.0, 0.0), sparsity=s, method="lth") for s in (0.1, 0.3, 0.5, 0.7, 0.9)))
    _, finding = judge(both, best=1, to=["lth"])
    assert (finding.effect, finding.arms) == (pytest.approx(0.06), 1)


def test_severities_are_told_apart():
    def at(severity, gain):
        gains = (gain, gain + 0.001, gain - 0.001)
        more = {"difficulty": "corruption", "difficulty_parameters": f'{{"severity": {severity}}}'}
        rows = [arms(gains, method=method, sparsity=0.8, **more) for method in ("gmp", "lth", "snip", "set", "omp")]
        return rows[0] + sparse(*rows[1:])

    rows = at(2, 0.002) + at(4, 0.03) + at(6, 0.01)
    verdicts = {verdict.claim.claim: verdict for verdict in evaluate(trials_of(rows), paper_claims())}
    found = [round(finding.effect, 3) for finding in verdicts["severities"].findings]
    assert found == [0.002, 0.002, 0.028, -0.02]
    assert verdicts["severities"].verdict == "undecided"  # OMP at severity 2: +.2 points, but not surely
    assert verdicts["severities"].deciding.part.methods == ("omp",)


def test_json_has_what_was_promised():
    rows = arms((0.01, 0.02, 0.03), dataset="digits", model="resnet8", sparsity=0.8)
    found = as_json(evaluate(trials_of(rows), paper_claims()))
    assert json.loads(json.dumps(found)) == found
    assert [entry["claim"] for entry in found] == [claim.claim for claim in paper_claims()]
    tested = next(entry for entry in found if entry["claim"] == "el2n-third")
    assert tested["data"] == "digits / resnet8" and tested["data_of_paper"] is False
    assert (tested["n"], tested["effect"]) == (3, pytest.approx(0.02))
    low, high = tested["interval"]
    assert low < tested["effect"] < high
    untested = next(entry for entry in found if entry["verdict"] == "not tested")
    assert (untested["effect"], untested["interval"], untested["n"]) == (None, None, 0)


def test_what_is_not_tested_says_what_it_needs():
    [verdict] = evaluate(trials_of([]), [paper_claims()[4]])
    said = list(format_verdicts([verdict]))
    assert said[0] == "corrupted-third: NOT TESTED"
    where = "corrupted (severity 5), data ratio 0.3, sparsity 0.7 to 1"
    assert said[-1] == f"  needs dense and gmp, lth, omp, snip, set on: {where}"


def test_a_users_file_is_read(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "- claim: mine\n  statement: RigL is best\n  source: a hunch\n  where: {difficulty: el2n}\n"
        "  parts: [{says: better than SET, rule: difference, methods: [rigl], to: [set], expect: {above: 0}}]\n"
    )
    [claim] = read_claims(path)
    assert claim.parts[0].to == ("set",) and claim.where.difficulty == ("el2n",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("- claim: [", "invalid YAML"),
        ("- {claim: Mine!, statement: s, source: h, parts: []}", r"0\.claim: String should match"),
        (
            "- {claim: a, statement: s, source: h, parts: [{rule: maybe}]}",
            r"0\.parts\.0: Input tag 'maybe' .*'difference'",
        ),
        (
            "- {claim: a, statement: s, source: h, parts: [{rule: level, says: x, methods: [set], expect: {}}]}",
            r"0\.parts\.0\.level\.expect: give exactly one of above, below, within",
        ),
        (
            "- {claim: a, statement: s, source: h, where: {sparsty: 1}, parts: []}",
            r"0\.where\.sparsty: unknown field; choose from dataset, .*, sparsity, sparsifier \(got 1\)",
        ),
        (
            "- {claim: a, statement: s, source: h, dta: 1, "
            "parts: [{rule: level, says: x, methods: [set], expect: {above: 1}}]}",
            r"0\.dta: unknown field; choose from claim, statement, source, data, where, parts",
        ),
        (
            "- {claim: a, statement: s, source: h, parts: [{rule: level, says: x, methods: [set], expect: {over: 1}}]}",
            r"0\.parts\.0\.level\.expect\.over: unknown field; choose from above, below, within",
        ),
        ("- {claim: a, source: h, claim: b}", r"line 1: duplicate key 'claim', see line 1\. Remove one\."),
        ("hello", "Input should be a valid tuple"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_field(tmp_path, content, reason):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ClaimError, match=rf"^{path}: .*{reason}") as raised:
        read_claims(path)
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_a_name_that_stands_twice(tmp_path):
    with pytest.raises(ClaimError, match="cannot be read"):
        read_claims(tmp_path / "gone.yaml")
    twice = paper_claims()[0].model_dump_json(exclude_none=True)
    with pytest.raises(ClaimError, match="test: duplicate claim 'el2n-half'"):
        parse(f"[{twice}, {twice}]", "test")

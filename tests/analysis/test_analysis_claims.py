"""Claims: rules on worked examples, verdicts on planted and null effects, and claim files."""

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
    """Return a claim with the given parts. Default of a part: SET is better than dense."""
    default = {"says": "better", "rule": "difference", "methods": ["set"], "expect": {"above": 0}}
    claim = {"claim": "mine", "statement": "s", "source": "here", "parts": [{**default, **part} for part in parts]}
    return parse(json.dumps([{**claim, **fields}]), "test")


def claim_of(**part):
    return claims_of(part)


def judge(rows, **part):
    """Return the verdict on a claim with one part, and its first finding."""
    results = rows if isinstance(rows, Results) else trials_of(rows)
    [verdict] = evaluate(results, claim_of(**part))
    return verdict, verdict.findings[0]


def arms(gains, sparsity=0.5, method="set", dense=(0.5, 0.52, 0.54), **changes):
    """Return rows of dense and of one method whose differences to dense are ``gains``, one per seed."""
    rows = [make_row("dense", 0.0, seed, dense[seed], **changes) for seed in range(len(gains))]
    return rows + [make_row(method, sparsity, seed, dense[seed] + gain, **changes) for seed, gain in enumerate(gains)]


def sparse(*rows):
    return [row for part in rows for row in part if row["sparsifier"] != "dense"]


# Rules ---------------------------------------------------------------------------------------------------------------


def test_difference_matches_worked_example():
    verdict, finding = judge(arms((0.01, 0.02, 0.03)))
    assert (finding.n, finding.effect) == (3, pytest.approx(0.02))
    # 0.975 quantile of Student's t with two degrees of freedom, times 0.01 / sqrt(3).
    assert finding.low == pytest.approx(0.02 - 4.302653 * 0.01 / math.sqrt(3), abs=1e-8)
    assert finding.verdict == verdict.verdict == "undecided"
    assert verdict.data == "cifar100 / resnet18"


def test_arms_of_a_method_are_averaged_per_seed():
    rows = arms((0.01, 0.02, 0.03)) + sparse(arms((0.03, 0.02, 0.01), sparsity=0.9))
    _, finding = judge(rows)
    assert (finding.effect, finding.arms, finding.n) == (pytest.approx(0.02), 2, 3)
    assert finding.low == pytest.approx(0.02)  # the mean of each seed is 0.02


def test_only_arms_with_all_seeds_are_used():
    rows = arms((0.01, 0.02, 0.03)) + sparse(arms((0.03, 0.04, 0.05), sparsity=0.8), arms((0.5, 0.5), sparsity=0.9))
    _, finding = judge(rows)  # six values in both cases: more seeds are preferred
    assert (finding.effect, finding.arms, finding.n) == (pytest.approx(0.03), 2, 3)


def test_more_values_are_preferred_to_one_arm_with_more_seeds():
    """Two arms have two seeds and one has three. All three arms with two seeds give six values, one arm gives three."""
    rows = arms((0.01, 0.02, 0.09))
    rows += sparse(arms((0.03, 0.02), sparsity=0.8), arms((0.05, 0.08), sparsity=0.9))
    _, finding = judge(rows)
    assert (finding.effect, finding.arms, finding.n) == (pytest.approx((0.09 + 0.12) / 6), 3, 2)


def test_one_arm_with_two_seeds_is_preferred_to_many_arms_with_one():
    rows = arms((0.01, 0.02)) + sparse(*(arms((0.5,), sparsity=s) for s in (0.6, 0.7, 0.8, 0.9)))
    _, finding = judge(rows)
    assert (finding.effect, finding.arms, finding.n) == (pytest.approx(0.015), 1, 2)


def test_seed_without_a_common_arm_is_excluded():
    rows = [*arms((0.01, 0.02)), make_row("dense", 0.0, 7, 0.5), make_row("set", 0.9, 7, 0.9)]
    _, finding = judge(rows)
    assert (finding.effect, finding.n) == (pytest.approx(0.015), 2)


@pytest.mark.parametrize(("over", "effect"), [("mean", 0.03), ("median", 0.01)])
def test_methods_are_aggregated_by_over_methods(over, effect):
    rows = arms((0.01, 0.01)) + sparse(arms((0.08, 0.08), method="omp"), arms((0.0, 0.0), method="lth"))
    _, finding = judge(rows, methods=["set", "omp", "lth"], over_methods=over)
    assert finding.effect == pytest.approx(effect)


def test_over_methods_each_requires_every_method():
    rows = arms((0.05, 0.051, 0.052)) + sparse(arms((-0.05, -0.051, -0.052), method="snip"))
    [verdict] = evaluate(trials_of(rows), claim_of(methods=["set", "snip"], over_methods="each"))
    assert [(f.part.methods, f.verdict) for f in verdict.findings] == [
        (("set",), "supported"),
        (("snip",), "contradicted"),
    ]
    assert verdict.verdict == "contradicted" and verdict.deciding is verdict.findings[1]


def test_method_is_compared_with_others_at_equal_sparsity_and_seed():
    rows = arms((0.04, 0.05), method="lth") + sparse(arms((0.01, 0.01), method="omp"), arms((0.03, 0.03), method="gmp"))
    rows += sparse(arms((0.9, 0.9), method="omp", sparsity=0.9))
    _, finding = judge(rows, methods=["lth"], to=["omp", "gmp"])
    assert (finding.effect, finding.n, finding.arms) == (pytest.approx(0.025), 2, 1)


def test_change_rule_is_the_difference_of_two_gains():
    rows = arms((0.01, 0.02)) + sparse(arms((0.05, 0.08), sparsity=0.9))
    part = {"rule": "change", "where": {"sparsity": [0.8, 1]}, "instead": {"sparsity": 0.5}}
    _, finding = judge(rows, **part)
    assert finding.effect == pytest.approx((0.04 + 0.06) / 2)
    rows = arms((0.01, 0.02), **CORRUPTED) + arms((0.05, 0.05))
    _, finding = judge(rows, rule="change", where={"difficulty": "el2n"}, instead={"difficulty": "corruption"})
    assert finding.effect == pytest.approx(0.035)


def test_ratio_rule_is_the_relative_difference():
    rows = [make_row("dense", 0.0, s, 0.5, train_flops=10.0, prerequisite_flops=0.0) for s in (0, 1)]
    rows += [make_row("omp", 0.5, s, 0.5, train_flops=5.0, prerequisite_flops=10.0) for s in (0, 1)]
    verdict, finding = judge(rows, rule="ratio", value="total_flops", methods=["omp"])
    assert (finding.effect, finding.low, finding.unit) == (pytest.approx(0.5), pytest.approx(0.5), "ratio")
    assert verdict.verdict == "supported"  # equal costs of two seeds are expected, not a coincidence
    assert "omp: better: supported, +50.0 % [+50.0, +50.0], n = 2" in "\n".join(format_verdicts([verdict]))


def test_level_rule_is_the_value():
    rows = make_sweep(("set", "lth"), sparsities=(0.8,), ratios=(0.3,))
    layers = schemas.build_table("layers", [layer for row in rows for layer in make_layers(row)]).to_pandas()
    results = Results(trials_of(rows), layers)
    _, tilted_finding = judge(results, rule="level", value="depth_contrast")
    _, flat_finding = judge(results, rule="level", value="depth_contrast", methods=["lth"])
    assert tilted_finding.effect == pytest.approx(8 * flat_finding.effect)  # planted tilts: 0.8 and 0.1
    _, finding = judge(results, value="depth_contrast", to=["lth"])
    assert finding.effect == pytest.approx(tilted_finding.effect - flat_finding.effect)


def test_unknown_prerequisite_flops_are_not_tested():
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
def test_verdict_follows_from_the_interval(expect, low, high, verdict):
    assert Expectation(**expect).judge(low, high) == verdict


@pytest.mark.parametrize(("mean", "bound"), [(0.2, 0.1), (0.02, 0.1), (-0.02, -0.1)])
def test_bound_of_within_is_the_nearer_boundary(mean, bound):
    assert Expectation(within=0.1).bound(mean) == bound


def test_planted_effects_are_detected():
    """In the sweep SET gains, uniform loses and OMP has no effect; the noise is small."""
    trials = trials_of(make_sweep(seeds=5, noise=0.002, ratios=(0.3,)))
    verdicts = {
        method: evaluate(trials, claim_of(methods=[method], expect={"above": 0.005}))[0].verdict for method in GAINS
    }
    assert verdicts["set"] == verdicts["snip"] == "supported"
    assert verdicts["lth"] == verdicts["uniform"] == verdicts["omp"] == "contradicted"


def test_null_effects_are_decided_no_more_often_than_the_level():
    generator = np.random.default_rng(5)
    decided = [judge(arms(generator.normal(0, 0.01, 3)))[0].verdict != "undecided" for _ in range(150)]
    assert np.mean(decided) < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 150)


def test_undecided_claim_states_the_number_of_extra_seeds():
    # Mean 0.01, standard deviation 0.01: Cohen's d of 1 needs 10 seeds in total.
    verdict, finding = judge(arms((0.0, 0.01, 0.02)))
    assert (finding.verdict, finding.extra_seeds, verdict.further) == ("undecided", 7, 7)
    assert "about 7 more seeds would decide" in "\n".join(format_verdicts([verdict]))


def test_effect_on_the_boundary_has_no_number_of_extra_seeds():
    verdict, finding = judge(arms((-0.01, 0.0, 0.01)))
    assert finding.extra_seeds is None and "too near to the boundary" in finding.note
    assert verdict.further is None


def test_one_seed_is_undecided():
    verdict, finding = judge(arms((0.3,)))
    assert (verdict.verdict, finding.n, finding.extra_seeds) == ("undecided", 1, 1)
    assert math.isnan(finding.low) and "one seed: no interval" in finding.note


def test_equal_seeds_are_undecided():
    verdict, finding = judge(arms((0.3, 0.3)))
    assert verdict.verdict == "undecided" and "all seeds are equal" in finding.note


def test_claim_without_dense_or_trials_is_not_tested():
    rows = [row for row in arms((0.1, 0.2, 0.3)) if row["sparsifier"] != "dense"]
    for trial_rows in (rows, []):
        verdict, finding = judge(trial_rows)
        assert (verdict.verdict, verdict.data, verdict.deciding, finding.n) == ("not tested", None, None, 0)


def test_untested_part_keeps_a_claim_undecided():
    claims = claims_of({}, {"methods": ["rigl"]})
    [verdict] = evaluate(trials_of(arms((0.05, 0.051, 0.052))), claims)
    assert [finding.verdict for finding in verdict.findings] == ["supported", "not tested"]
    assert verdict.verdict == "undecided" and verdict.deciding.n == 3


def test_each_dataset_has_its_own_verdict():
    rows = arms((0.05, 0.051, 0.052)) + arms((-0.05, -0.051, -0.052), dataset="digits", model="resnet8")
    verdicts = evaluate(trials_of(rows), claim_of())
    assert [(v.data, v.verdict) for v in verdicts] == [
        ("cifar100 / resnet18", "supported"),
        ("digits / resnet8", "contradicted"),
    ]


def test_part_about_one_dataset_is_skipped_on_others():
    claims = claims_of({}, {"where": {"dataset": "cifar10"}})
    [verdict] = evaluate(trials_of(arms((0.05, 0.051, 0.052))), claims)
    assert len(verdict.findings) == 1 and verdict.verdict == "supported"


def test_missing_methods_are_named_in_the_note():
    _, finding = judge(arms((0.01, 0.02)), methods=["set", "rigl"])
    assert finding.note.startswith("without rigl")


def test_inputs_are_not_modified():
    trials = trials_of(arms((0.1, 0.2)))
    before = trials.copy()
    evaluate(trials, claim_of())
    pd.testing.assert_frame_equal(trials, before)


# The paper's claims and files ----------------------------------------------------------------------------------------


def test_paper_has_eleven_claims():
    claims = paper_claims()
    assert len(claims) == 11
    assert all(claim.source and claim.data and claim.statement for claim in claims)


def test_severity_filters_only_difficulties_with_a_severity():
    """Scope of Figure 8: EL2N, or corruption with severity 5."""
    matching = [make_row("set", 0.8, 0, 0.5), make_row("set", 0.8, 0, 0.5, **CORRUPTED)]
    other = make_row("set", 0.8, 0, 0.5, difficulty="corruption", difficulty_parameters='{"severity": 2}')
    scope = TrialFilter(difficulty=("el2n", "corruption"), severity=5)
    assert scope.match(trials_of([*matching, other])).tolist() == [True, True, False]
    assert str(scope) == "EL2N or corrupted (severity 5)"


def test_best_selects_the_best_sparsities_of_each_method():
    """Five sparsities have means 0.51 to 0.55. The best two, 0.54 and 0.55, are selected per comparison."""
    rows = arms((0.01, 0.03), sparsity=0.1)
    for number, sparsity in enumerate((0.3, 0.5, 0.7, 0.9), start=2):
        rows += sparse(arms((0.01 * number, 0.01 * number + 0.02), sparsity=sparsity))
    _, finding = judge(rows, best=2)
    assert (finding.effect, finding.arms) == (pytest.approx(0.01 + 0.045), 2)
    # All arms of the other method remain partners.
    both = rows + sparse(*(arms((0.0, 0.0), sparsity=s, method="lth") for s in (0.1, 0.3, 0.5, 0.7, 0.9)))
    _, finding = judge(both, best=1, to=["lth"])
    assert (finding.effect, finding.arms) == (pytest.approx(0.06), 1)


def test_severities_are_separate_arms():
    def rows_at(severity, gain):
        gains = (gain, gain + 0.001, gain - 0.001)
        more = {"difficulty": "corruption", "difficulty_parameters": f'{{"severity": {severity}}}'}
        rows = [arms(gains, method=method, sparsity=0.8, **more) for method in ("gmp", "lth", "snip", "set", "omp")]
        return rows[0] + sparse(*rows[1:])

    rows = rows_at(2, 0.002) + rows_at(4, 0.03) + rows_at(6, 0.01)
    verdicts = {verdict.claim.claim: verdict for verdict in evaluate(trials_of(rows), paper_claims())}
    effects = [round(finding.effect, 3) for finding in verdicts["severities"].findings]
    assert effects == [0.002, 0.002, 0.028, -0.02]
    assert verdicts["severities"].verdict == "undecided"  # OMP at severity 2: +0.2 points, not significant
    assert verdicts["severities"].deciding.part.methods == ("omp",)


def test_json_has_the_documented_fields():
    rows = arms((0.01, 0.02, 0.03), dataset="digits", model="resnet8", sparsity=0.8)
    entries = as_json(evaluate(trials_of(rows), paper_claims()))
    assert json.loads(json.dumps(entries)) == entries
    assert [entry["claim"] for entry in entries] == [claim.claim for claim in paper_claims()]
    tested = next(entry for entry in entries if entry["claim"] == "el2n-third")
    assert tested["data"] == "digits / resnet8" and tested["data_of_paper"] is False
    assert (tested["n"], tested["effect"]) == (3, pytest.approx(0.02))
    low, high = tested["interval"]
    assert low < tested["effect"] < high
    untested = next(entry for entry in entries if entry["verdict"] == "not tested")
    assert (untested["effect"], untested["interval"], untested["n"]) == (None, None, 0)


def test_untested_claim_states_the_required_trials():
    [verdict] = evaluate(trials_of([]), [paper_claims()[4]])
    lines = list(format_verdicts([verdict]))
    assert lines[0] == "corrupted-third: NOT TESTED"
    scope = "corrupted (severity 5), data ratio 0.3, sparsity 0.7 to 1"
    assert lines[-1] == f"  needs dense and gmp, lth, omp, snip, set on: {scope}"


def test_user_claim_file_is_read(tmp_path):
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
def test_invalid_file_raises_one_line_with_the_field(tmp_path, content, reason):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ClaimError, match=rf"^{path}: .*{reason}") as error_info:
        read_claims(path)
    assert "\n" not in str(error_info.value)


def test_missing_file_and_duplicate_claim_raise(tmp_path):
    with pytest.raises(ClaimError, match="cannot be read"):
        read_claims(tmp_path / "gone.yaml")
    claim = paper_claims()[0].model_dump_json(exclude_none=True)
    with pytest.raises(ClaimError, match="test: duplicate claim 'el2n-half'"):
        parse(f"[{claim}, {claim}]", "test")

"""One self-contained HTML page about sweeps: results, claims, figures, trials, failures, cost and provenance.

Nothing is loaded when it is viewed: data, pictures, styles and scripts are inside, and its content security policy
forbids all else. The figures of the paper are those of ``analysis.figures``, as SVG; the two main ones are drawn by the
page itself from the embedded trials, so that they can be filtered and hovered.
"""

from sparsweep.analysis.report.render import SweepSection, render

__all__ = ["SweepSection", "render"]

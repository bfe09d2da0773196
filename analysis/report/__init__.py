"""One self-contained HTML page about sweeps: results, claims, figures, trials, failures, cost and provenance.

The page loads nothing: data, figures, styles and scripts are inside, and its content security policy forbids the rest.
The paper's figures are those of ``analysis.figures`` as SVG. The page draws the two main ones itself from the embedded
trials, so that they can be filtered and hovered.
"""

from sparsweep.analysis.report.render import SweepSection, render

__all__ = ["SweepSection", "render"]

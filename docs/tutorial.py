# %% [markdown]
# # From Parquet to an answer
#
# This script reads as a notebook: editors that know `# %%` cells (VS Code, PyCharm, Jupyter through Jupytext) run it
# cell by cell. It starts from finished results, those of `make quickstart`, and asks the question of the whole project
# of them: *do sparse networks learn hard samples better than dense ones?* To run it as it stands:
#
# ```console
# make quickstart
# python docs/tutorial.py              # or: python docs/tutorial.py STORAGE SWEEP
# ```

# %%
import sys
from pathlib import Path

import numpy as np

from sparsweep.analysis import describe, figures, load_epochs, load_layers, load_trials
from sparsweep.analysis.claims import evaluate, format_verdicts, paper_claims
from sparsweep.analysis.groups import paired_differences, summarise
from sparsweep.analysis.results import Results

STORAGE, SWEEP = sys.argv[1:3] if len(sys.argv) == 3 else ("runs", "quickstart")
OUT = Path(STORAGE) / "figures" / "tutorial"
OUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## What is there
#
# One row a finished trial. Every column has a type and a meaning; accuracies are fractions in [0, 1], and what was not
# measured is missing, never 0.

# %%
trials = load_trials(STORAGE, sweep=SWEEP)
print(f"{len(trials)} trials of {trials['sparsifier'].nunique()} methods")
print(describe("trials").head(12).to_string(index=False))

# %% [markdown]
# ## A first look
#
# Seeds are replicates: trials that differ in nothing else. Mean and spread over them, for each data ratio.

# %%
arms = summarise(trials)
accuracy = arms.pivot_table(index=["data_ratio", "sparsifier"], columns="sparsity", values="mean")
print((100 * accuracy).round(1).to_string(na_rep=""))

# %% [markdown]
# ## The figure
#
# A figure's function takes the frame and returns a matplotlib `Figure`; in a notebook, make it the last line of a cell.

# %%
figure = figures.accuracy_vs_sparsity.draw(trials)
figure.savefig(OUT / "accuracy.png")
figures.ratio_heatmap.draw(trials).savefig(OUT / "heatmap.png")

# %% [markdown]
# ## Is it more than chance?
#
# Two arms of a comparison share initial weights, training samples and their order within a seed. So the difference is
# taken seed by seed, and the interval is that of the mean difference: Student's t, since there are few seeds. With
# Holm's correction over all comparisons, few effects of a small sweep survive; that is what a small sweep can say.

# %%
gains = paired_differences(trials)
columns = ["data_ratio", "sparsifier", "sparsity", "n", "mean", "low", "high", "p_holm"]
print(gains.sort_values("mean", ascending=False)[columns].head(5).round(3).to_string(index=False))
sure = gains["significant"].sum()
print(f"{sure} of {len(gains)} differences are significant after correction")

# %% [markdown]
# ## Where do the weights go?
#
# `results/layers` has the density of each layer. Filters are pushed down to Parquet: only what is asked for is read.

# %%
wanted = trials.loc[(trials["sparsity"] == trials["sparsity"].median()), "trial"]
layers = load_layers(STORAGE, wanted, columns=["trial", "position", "kind", "density"])
by_layer = (
    layers.merge(trials[["trial", "sparsifier"]], on="trial").groupby(["sparsifier", "position"])["density"].mean()
)
print(by_layer.unstack().round(2).to_string(na_rep=""))
figures.layer_density.draw(trials, load_layers(STORAGE, sweep=SWEEP)).savefig(OUT / "layers.png")

# %% [markdown]
# ## How did they learn?
#
# `results/epochs` has a row an epoch. The loss over training of the dense networks on the least data, mean over seeds:

# %%
hard = trials[(trials["sparsifier"] == "dense") & (trials["data_ratio"] == trials["data_ratio"].min())]
epochs = load_epochs(STORAGE, hard["trial"], columns=["trial", "epoch", "train_loss"])
curve = epochs.groupby("epoch")["train_loss"].mean()
print(curve.iloc[np.unique(np.linspace(0, len(curve) - 1, 6).astype(int))].round(3).to_string())

# %% [markdown]
# ## The paper's claims
#
# Each is judged on whatever was run, and the verdict says on what. Claims of your own are a YAML file away
# (`sparsweep claims quickstart --claims mine.yaml`; the paper's are in `analysis/claims/paper.yaml`).

# %%
verdicts = evaluate(Results(trials, load_layers(STORAGE, sweep=SWEEP)), paper_claims())
print("\n".join(format_verdicts(verdict for verdict in verdicts if verdict.data)))

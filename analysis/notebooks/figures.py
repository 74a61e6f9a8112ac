# %% [markdown]
# # Every figure
#
# Of every study: learning curves across the switch (the paper's Figures 1 and 2), aggregates over tasks, paired
# differences, sweeps (Figure 3), what the priorities did to the draws, uncertainty (Figure 4), the dynamics model on
# transitions not yet seen. One of them: `draw(study, "curves", methods=["moore"], tasks=["HC-medium-replay"])`.

# %%
from analysis.io.imported import overlay
from analysis.output.show import figure, load
from analysis.plots.figures import draw, drawings

studies, imported = load()

# %%
for study in studies:
    for _, drawn, caption in drawings(study):
        figure((drawn, caption))

# %% [markdown]
# ## With imported curves
# `moore import curves.csv` adds other people's curves to the results folder; here they lie over the studies with the
# same tasks.

# %%
for study in studies:
    for theirs in imported:
        if (joined := overlay(study, theirs)) is not None:
            figure(draw(joined))

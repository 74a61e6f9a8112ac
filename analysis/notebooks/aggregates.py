# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Aggregates over tasks
#
# Interquartile means, performance profiles and probabilities of improvement with stratified bootstrap intervals
# (Agarwal et al. 2021). They need two tasks.

# %%
from analysis.output.show import figure, load
from analysis.plots.aggregates import improvement_plot, interval_plot, iqm_curves, profile_plot

studies, _ = load()

# %%
for study in studies:
    figure(iqm_curves(study))
    figure(interval_plot(study))
    figure(profile_plot(study))
    figure(improvement_plot(study))

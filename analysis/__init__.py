"""From the committed rows of finished studies to statistics, tables, figures and the generated blocks of the README."""

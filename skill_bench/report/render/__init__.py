"""A table as text, page, figures, LaTeX and cards."""

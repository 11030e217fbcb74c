"""Gates that learn which units stay, the constraint on what they leave, and the removal of the rest."""

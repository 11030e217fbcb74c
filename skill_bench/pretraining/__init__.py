"""A small teacher from nothing: masked prediction of units."""

"""Many students of one teacher: a grid, distilled, evaluated and recorded by one command."""

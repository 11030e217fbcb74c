"""From records and published numbers to tables. Reads records only, and loads no torch."""

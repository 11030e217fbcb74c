"""From records and published rows to one table."""

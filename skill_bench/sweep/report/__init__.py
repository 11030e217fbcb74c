"""What the records of a sweep say, as one page."""

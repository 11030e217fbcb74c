"""Two or more systems on the same items, and what may be said of them."""

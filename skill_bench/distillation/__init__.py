"""From a teacher and speech to a smaller student."""

"""Audio files: decoded, identified by content, changed by effects and imitated conditions."""

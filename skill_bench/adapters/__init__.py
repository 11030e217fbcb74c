"""Upstreams on other boards: one file a board, each a thin wrapper of `skill_bench.upstream.interface.Upstream`."""

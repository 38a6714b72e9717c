"""Watching: from the journal's comparisons and exchanges to statistics, metrics, alarms and trust."""

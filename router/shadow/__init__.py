"""The shadow worker: asks the teacher about a sample of what the student answered, off the request path.

It reads the exchanges' stream of every task in a consumer group, so several workers share the work, and writes
`Comparison` records into a local log of its own, which a shipper in the same process carries into the journal.

Nothing that was drawn is lost: an entry is acknowledged once all its comparisons are in the log, and what a dead worker
was given is claimed by another; what the journal lost is found in the archive (`sweep`). So a comparison may be made
twice; readers drop an exchange that they have seen.
"""

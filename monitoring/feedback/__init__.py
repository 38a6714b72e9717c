"""Accuracy on feedback: the truth about an answer, that comes when it comes, joined to what was answered.

How no feedback counts twice, whoever dies when:
- What was read and is not joined yet waits in the task's state, which is stored together with the position in the
  stream; what is joined has left it. So each piece is in one of the two, or is read again.
- Of several pieces about one exchange the last one counts, by the time at which the gateway took them: it takes the
  place of the one before, as if that had never been. The state remembers the last 5,000 to 10,000 exchanges that were
  judged, for that; of one that it has forgotten the archive knows that there was feedback, and what comes then is left
  out and counted as `late`.
- A person's verdict from the review queue corrects a client's feedback and does not count by itself: these exchanges
  were chosen for being doubtful.

What was answered lately is in memory, for speed alone; everything else is looked for in the archive, in a thread, in
batches, again and again with growing pauses until `watch.feedback_wait_hours` have passed.
"""

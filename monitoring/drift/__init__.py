"""Drift: what the champion is asked now, against a frozen reference of what it was asked at first.

    rows         what is kept of an exchange: numbers, a vector, hashes; a text only where the student was unsure
    watch        the record in the monitor's state: reference, sample, window, what came of the windows so far
    score        a full window against the reference, in a thread: signals, p-values, a verdict
    permutations, labels, numbers, embeddings, rates    its statistics
    evidently    the scores that are shown, by Evidently
    prior_shift  how often each class comes now; new_classes: clusters of what the student is unsure of

What is promised: within `watch.drift_horizon` windows without drift, the chance that anything is called drift is
`watch.drift_false_alarms` at most. Each window's test is exact (permutations, or Fisher's test) where its exchanges and
those of the reference could be swapped, and the chance is divided over the windows and the parts of the test by the
union bound, which holds whatever depends on what: all windows share one reference, so no rule that multiplies evidence
over windows would keep its promise.
"""

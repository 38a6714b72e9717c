"""`tutelage report`: how one version did in one window, as a page for people (HTML) and as data (JSON).

The numbers of the window come from the archive; of the version as a whole from the monitor's snapshot; what was done
about it from the ledger. `build` collects them into one record (`facts.Report`), and the page is drawn from nothing
else, so both say the same. Nothing of what was asked or answered is in either: only labels and ids.
"""

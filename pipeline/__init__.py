"""The line that a submission travels, one way: ingest → detect → score → decide → credit → settle.

``stages`` has one file for each of these words, ``assess`` the three in the middle that the command
line, the API and the flows all call, and ``bootstrap`` the one place where ports meet stores.
"""

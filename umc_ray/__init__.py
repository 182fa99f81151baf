"""umc_ray: uncertainty-driven, model-assisted dataset curation on Ray.

Read `campaign/round.py` first: one round, top to bottom. Each line below is a layer; a module
imports from its own layer and from the lines above, never from below.

    errors console deferred
    records json_records atomic retries seals storage
    methods
    tasks
    config
    cluster
    encoders ingest
    specialists
    passes
    selection
    diversity
    robustness
    annotation
    campaign
    report
    release
    labelstudio
    serving web
    client
    bulk_scoring
    demo
    cli
"""

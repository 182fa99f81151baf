"""umc_ray: uncertainty-driven, model-assisted dataset curation on Ray. Read round.py first.

errors, records, config, storage, running   what everything else speaks
methods                                     pure functions on arrays; never import Ray
pipeline, annotation                        what runs on the cluster; who answers
round, campaign                             one round top to bottom; rounds in sequence
release, serving, cli                       what comes out
"""

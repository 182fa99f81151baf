"""What runs on the cluster: ingest, encoders, the ensemble, training, the allocator."""

"""What runs on the cluster: streamed, resumable passes over a pool."""

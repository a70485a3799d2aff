"""Video files, one episode each."""

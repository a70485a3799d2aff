"""Interceptors of every call, one module each: access log, error status, authentication, admission, transfer."""

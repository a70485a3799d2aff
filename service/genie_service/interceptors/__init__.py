"""What happens around every call, a module for each: access log, error status, authentication, admission, transfer."""

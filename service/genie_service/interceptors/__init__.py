"""What happens around every call, a module for each concern: access log, error status, admission, transfer."""

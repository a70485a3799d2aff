"""What happens around every call, one concern a module. Order, outermost first: access log, error status, admission, decoding."""

"""`genie-service` where PyAV may be missing: importing this package has put a stand-in in its place."""

from genie_service.__main__ import main

if __name__ == "__main__":
    main()

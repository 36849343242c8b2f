#!/usr/bin/env bash
# The server links to a libssl that Debian no longer has and that lies beside it.
LD_LIBRARY_PATH=/usr/lib/mongodb/lib exec /usr/lib/mongodb/mongod "$@"

#!/bin/sh
# Builds versitygw, an S3 server over a folder, into the folder $1 (about 3 min of CPU). Needs Go.
set -eu
GOBIN="$1" go install github.com/versity/versitygw/cmd/versitygw@v1.8.0

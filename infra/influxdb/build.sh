#!/bin/sh
# Builds influxd into the folder $1 (about 6 min on two cores). Needs Go 1.23, cargo and a C compiler.
set -eu
out=$1
mkdir "$out/tools"
cp "$(dirname "$0")/go.mod" "$(dirname "$0")/go.sum" "$(dirname "$0")/tools.go" "$out"
# influxdb asks pkg-config for its query engine; this wrapper builds that engine with cargo and answers.
GOBIN="$out/tools" go install github.com/influxdata/pkg-config@v0.2.7
# Newer compilers turn old lints of the engine into errors, and RUSTFLAGS does not reach build dependencies.
printf '#!/bin/sh\nexec "$@" --cap-lints warn\n' > "$out/tools/rustc-wrapper"
chmod +x "$out/tools/rustc-wrapper"
cd "$out"
# The engine's source names an old toolchain that rustup would download; any recent stable one builds it.
RUSTUP_TOOLCHAIN=${RUSTUP_TOOLCHAIN:-stable} RUSTC_WRAPPER="$out/tools/rustc-wrapper" PKG_CONFIG="$out/tools/pkg-config" \
  go build -tags 'sqlite_foreign_keys,sqlite_json' -ldflags '-s -w' -o "$out/influxd" \
  github.com/influxdata/influxdb/v2/cmd/influxd

//go:build tools

// Package tools names the command we build, so that go.mod pins it and everything it needs.
package tools

import _ "github.com/influxdata/influxdb/v2/cmd/influxd"

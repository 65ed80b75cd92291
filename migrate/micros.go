package migrate

import (
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Times are microseconds since 1970, as PostgreSQL has them; documents have
// milliseconds.
const (
	minute    = int64(time.Minute / time.Microsecond)
	dayMicros = int64(24 * time.Hour / time.Microsecond)
)

func isoTime(micros int64) string { return string(node.AppendTimestamp(nil, micros)) }

func wholeMillis(micros int64) int64 { return micros - micros%1000 }

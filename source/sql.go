package source

import (
	"fmt"
	"strings"
	"time"
)

// Timestamps that a node can have: the years 0001 to 9999, which is what
// ISO 8601 and every reader of it can hold. Microseconds since 1970, half-open.
const (
	minMicros = -62135596800000000
	maxMicros = 253402300800000000
)

// statements holds the pieces of SQL that depend on the relation.
type statements struct {
	relation string // quoted, with its schema
	id       string // an expression of type text
	uuid     bool   // the type of the column id
	settings string // further settings of the transaction
	tables   string // (schema, name) of each table beneath, as literals
}

// inRange is the condition for [from, to). Infinite timestamps and those
// outside the years 0001 to 9999 are never in a range.
func inRange(from, to int64) string {
	from = min(max(from, minMicros), maxMicros)
	to = min(max(to, minMicros), maxMicros)
	return fmt.Sprintf(`"timestamp" >= %s and "timestamp" < %s`, timestampLiteral(from), timestampLiteral(to))
}

// middle halves [from, to), as far as timestamps reach.
func middle(from, to int64) int64 {
	from, to = max(from, minMicros), min(to, maxMicros)
	return from + (to-from)/2
}

func timestampLiteral(micros int64) string {
	return "timestamptz '" + time.UnixMicro(micros).UTC().Format("2006-01-02 15:04:05.000000") + "+00'"
}

// parseTimestamp reads a timestamptz as the settings of prologue make it.
func parseTimestamp(text string) (micros int64, err error) {
	t, err := time.Parse("2006-01-02 15:04:05.999999-07", text)
	if err != nil {
		return 0, fmt.Errorf("timestamp %q: %w", text, err)
	}
	return t.UnixMicro(), nil
}

// textLiteral quotes text so that it is the same with standard_conforming_strings
// on and off.
func textLiteral(text string) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
}

func quoteIdentifier(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

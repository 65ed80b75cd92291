package source

import (
	"encoding/hex"
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
	relation string  // quoted, with its schema
	id       string  // an expression of type text
	uuid     bool    // the type of the column id
	settings string  // further settings of the transaction
	tables   string  // (schema, name) of each table beneath, as literals
	only     []Slice // of time that are read, by time; nil: all
}

// beneath joins the tables that hold the relation's rows. The list of a
// partitioned table without partitions is empty.
func (q statements) beneath() string {
	tables := q.tables
	if tables == "" {
		tables = "(null, null)"
	}
	return "pg_class c join pg_namespace n on n.oid = c.relnamespace and (n.nspname, c.relname) in (" + tables + ")"
}

// withIDs is a condition that an index of the ids serves.
func (q statements) withIDs(ids []string) string {
	return fmt.Sprintf(`"id" in (%s) and %s`, q.idList(ids), inRange(minMicros, maxMicros))
}

// amongIDs is a condition that no index of the ids serves.
func (q statements) amongIDs(ids []string, from, to int64) string {
	return fmt.Sprintf("%s || '' in (%s) and %s", q.id, q.idList(ids), inRange(from, to))
}

// idList is a list of literals for IN: of the ids that could be in the table, the
// column's type can hold them.
func (q statements) idList(ids []string) string {
	literals := []string{}
	for _, id := range ids {
		if strings.IndexByte(id, 0) < 0 && (!q.uuid || isUUID(id)) {
			literals = append(literals, textLiteral(id))
		}
	}
	if len(literals) == 0 {
		return "null" // which no id is equal to
	}
	return strings.Join(literals, ",")
}

// isUUID knows the form in which PostgreSQL writes one.
func isUUID(id string) bool {
	bare := strings.ReplaceAll(id, "-", "")
	_, err := hex.DecodeString(bare)
	return err == nil && len(id) == 36 && len(bare) == 32
}

// within is inRange for what is read of a range.
func (q statements) within(from, to int64) string {
	if q.only == nil {
		return inRange(from, to)
	}
	conditions := []string{"false"}
	for _, s := range q.only {
		if s.From < to && s.To > from {
			conditions = append(conditions, inRange(max(s.From, from), min(s.To, to)))
		}
	}
	return "(" + strings.Join(conditions, " or ") + ")"
}

// inRange is the condition for [from, to). Infinite timestamps and those
// outside the years 0001 to 9999 are never in a range.
func inRange(from, to int64) string {
	from = min(max(from, minMicros), maxMicros)
	to = min(max(to, minMicros), maxMicros)
	return fmt.Sprintf(`"timestamp" >= %s and "timestamp" < %s`, timestampLiteral(from), timestampLiteral(to))
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

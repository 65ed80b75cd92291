package source

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Moment is what has its timestamp within one minute.
type Moment struct {
	Count      int64
	Sum        float64 // of the timestamps, in milliseconds since 1970
	Unreadable bool    // the server cannot read some of its rows, so that it is not known which there are
}

// Moments counts the rows of [from, to), microseconds since 1970, and sums their
// timestamps, by minute, keyed by its first microsecond. A row too many and
// another too few do not cancel out in a sum, as they do in a count, nor does a
// row that was rewritten. It reads no payload.
func (s *Source) Moments(ctx context.Context, from, to int64) (map[int64]Moment, error) {
	minutes, err := s.moments(ctx, from, to)
	if err == nil || !brokenPage(err) && !TooLong(err) {
		return minutes, err
	}
	const minute = 60e6
	half := middle(from, to)
	if half -= (half%minute + minute) % minute; half <= from {
		half += minute
	}
	switch {
	case half >= to && TooLong(err):
		return nil, err
	case half >= to:
		return map[int64]Moment{half - minute: {Unreadable: true}}, nil
	}
	if minutes, err = s.Moments(ctx, from, half); err != nil {
		return nil, err
	}
	later, err := s.Moments(ctx, half, to)
	maps.Copy(minutes, later)
	return minutes, err
}

func (s *Source) moments(ctx context.Context, from, to int64) (map[int64]Moment, error) {
	const what = "sum timestamps by minute"
	results, err := s.query(ctx, what, s.sql.settings+fmt.Sprintf(
		`select date_trunc('minute', "timestamp", 'UTC') as start, count(*), sum(floor(extract(epoch from "timestamp") * 1000))
		 from %s where %s group by start`, s.sql.relation, inRange(from, to)))
	if err != nil {
		return nil, err
	}
	minutes := make(map[int64]Moment)
	for _, row := range results[len(results)-1] {
		start, err := parseTimestamp(row[0])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		var m Moment
		if m.Count, err = strconv.ParseInt(row[1], 10, 64); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		if m.Sum, err = strconv.ParseFloat(row[2], 64); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		minutes[start] = m
	}
	return minutes, nil
}

// Locate hands over the timestamps of the rows with the given ids. Ids without
// a row are passed over; one id can have several rows. It may look them up in an
// index of the ids, and an index can lack rows or hold them twice, whatever
// Relation.UniqueID says: a row that another method has shown has vanished only
// if LocateBetween does not find it either.
func (s *Source) Locate(ctx context.Context, ids []string, visit func(id []byte, micros int64) error) error {
	list := s.idList(ids)
	if list == "" {
		return nil
	}
	return s.keys(ctx, "locate ids", fmt.Sprintf(`"id" in (%s) and %s`, list, inRange(minMicros, maxMicros)), visit)
}

// LocateBetween is Locate within [from, to), microseconds since 1970. It reads
// all keys of that time as Stream does and never uses an index of the ids, so
// it finds what Stream, Keys and Entries find. A row can come twice.
func (s *Source) LocateBetween(ctx context.Context, ids []string, from, to int64, visit func(id []byte, micros int64) error) error {
	list := s.idList(ids)
	if list == "" {
		return nil
	}
	err := s.keys(ctx, "locate ids", s.among(list, from, to), visit)
	if !divisible(err) {
		return err
	}
	wanted := func(e Entry) error {
		if !slices.Contains(ids, string(e.ID)) {
			return nil
		}
		return visit(e.ID, e.Micros)
	}
	return s.EntriesApart(ctx, Slice{From: from, To: to}, wanted, func(Bad) error { return nil })
}

// among is a condition that no index of the ids serves.
func (s *Source) among(list string, from, to int64) string {
	return fmt.Sprintf("%s || '' in (%s) and %s", s.sql.id, list, inRange(from, to))
}

// idList is a list of literals for IN, or "" if no id could be in the table.
func (s *Source) idList(ids []string) string {
	var list strings.Builder
	for _, id := range ids {
		if strings.IndexByte(id, 0) >= 0 || s.sql.uuid && !isUUID(id) {
			continue // the column's type cannot hold it, so no row has it
		}
		if list.Len() > 0 {
			list.WriteString(",")
		}
		list.WriteString(textLiteral(id))
	}
	return list.String()
}

// isUUID knows the form in which PostgreSQL writes one.
func isUUID(id string) bool {
	bare := strings.ReplaceAll(id, "-", "")
	_, err := hex.DecodeString(bare)
	return err == nil && len(id) == 36 && len(bare) == 32
}

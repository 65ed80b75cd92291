package source

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Moments sums the timestamps, in milliseconds since 1970, of the rows of
// [from, to), microseconds since 1970, by minute, keyed by its first
// microsecond. A row too many and another too few do not cancel out in a sum, as
// they do in a count. It reads no payload.
func (s *Source) Moments(ctx context.Context, from, to int64) (map[int64]float64, error) {
	const what = "sum timestamps by minute"
	results, err := s.query(ctx, what, s.sql.settings+fmt.Sprintf(
		`select date_trunc('minute', "timestamp", 'UTC') as start, sum(floor(extract(epoch from "timestamp") * 1000)) from %s where %s group by start`,
		s.sql.relation, inRange(from, to)))
	if err != nil {
		return nil, err
	}
	minutes := make(map[int64]float64)
	for _, row := range results[len(results)-1] {
		start, err := parseTimestamp(row[0])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		if minutes[start], err = strconv.ParseFloat(row[1], 64); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
	}
	return minutes, nil
}

// Locate hands over the timestamps of the rows with the given ids. Ids without
// a row are passed over; a view can have several rows for one id.
func (s *Source) Locate(ctx context.Context, ids []string, visit func(id []byte, micros int64) error) error {
	list := idList(ids)
	if list == "" {
		return nil
	}
	return s.keys(ctx, "locate ids", fmt.Sprintf(`"id" in (%s) and %s`, list, inRange(minMicros, maxMicros)), visit)
}

// idList is a list of literals for IN, or "" if no id could be in the table.
func idList(ids []string) string {
	var list strings.Builder
	for _, id := range ids {
		if strings.IndexByte(id, 0) >= 0 {
			continue // PostgreSQL's text cannot hold it, so no row has it
		}
		if list.Len() > 0 {
			list.WriteString(",")
		}
		list.WriteString(textLiteral(id))
	}
	return list.String()
}

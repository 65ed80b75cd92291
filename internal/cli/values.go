package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/migrate"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// checked is part of every type of a flag below: it keeps what is wrong with the
// value, so that all wrong values are named at once.
type checked struct{ problem error }

func (c checked) wrong() error { return c.problem }

// read parses a value, unless a variable is set to nothing: then it was not given.
func (c *checked) read(text []byte, parse func(text string) error) error {
	if len(text) == 0 {
		return nil
	}
	if err := parse(strings.TrimSpace(string(text))); err != nil {
		c.problem = err
	}
	return nil
}

// dayValue is a UTC day.
type dayValue struct {
	node.Day
	checked
}

// UnmarshalText reads YYYY-MM-DD.
func (d *dayValue) UnmarshalText(text []byte) error {
	return d.read(text, func(text string) (err error) {
		d.Day, err = node.ParseDay(text)
		return err
	})
}

// daysValue is a list of UTC days.
type daysValue struct {
	days []node.Day
	checked
}

// UnmarshalText adds days that are separated by commas.
func (d *daysValue) UnmarshalText(text []byte) error {
	return d.read(text, func(text string) error {
		for name := range strings.SplitSeq(text, ",") {
			day, err := node.ParseDay(name)
			if err != nil {
				return err
			}
			d.days = append(d.days, day)
		}
		return nil
	})
}

// countValue is a number of workers, 0 for the default.
type countValue struct {
	n int
	checked
}

// maxWorkers is far beyond what any cluster gains from; it catches typing errors.
const maxWorkers = 256

// UnmarshalText reads a whole number from 1 to maxWorkers.
func (c *countValue) UnmarshalText(text []byte) error {
	return c.read(text, func(text string) (err error) {
		if c.n, err = strconv.Atoi(text); err != nil || c.n < 1 || c.n > maxWorkers {
			return fmt.Errorf("%q is not a whole number from 1 to %d", text, maxWorkers)
		}
		return nil
	})
}

// retentionDays is a number of days: 0 if it was not given, or migrate.KeepAll.
type retentionDays struct {
	n int
	checked
}

// maxRetention is a hundred years.
const maxRetention = 36500

// UnmarshalText reads a whole number of days.
func (r *retentionDays) UnmarshalText(text []byte) error {
	return r.read(text, func(text string) (err error) {
		if r.n, err = strconv.Atoi(text); err != nil || r.n < 0 || r.n > maxRetention {
			return fmt.Errorf("%q is not a whole number of days from 0 (keep all) to %d", text, maxRetention)
		}
		if r.n == 0 {
			r.n = migrate.KeepAll
		}
		return nil
	})
}

// rejectedLimit is a share of a day, or a number of nodes.
type rejectedLimit struct {
	migrate.Budget
	checked
}

// UnmarshalText reads a share such as 5% or a whole number.
func (l *rejectedLimit) UnmarshalText(text []byte) error {
	return l.read(text, func(text string) error {
		if percent, ok := strings.CutSuffix(text, "%"); ok {
			share, err := strconv.ParseFloat(percent, 64)
			if l.Share = share / 100; err != nil || !(share > 0 && share <= 100) {
				return fmt.Errorf("%q is not a share above 0%% and up to 100%%", text)
			}
			return nil
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if l.Nodes = &n; err != nil || n < 0 {
			return fmt.Errorf("%q is neither a share such as 5%% nor a number of nodes", text)
		}
		return nil
	})
}

// timeValue is a moment, in µs since 1970; 0 if it was not given.
type timeValue struct {
	micros int64
	checked
}

// UnmarshalText reads RFC 3339, which names its time zone.
func (v *timeValue) UnmarshalText(text []byte) error {
	return v.read(text, func(text string) error {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return fmt.Errorf("%q is not a time such as 2025-09-01T14:30:00Z", text)
		}
		v.micros = at.UnixMicro()
		return nil
	})
}

// sizeValue is a number of bytes.
type sizeValue struct {
	bytes int
	checked
}

const (
	minBulkBytes = 64 << 10
	maxBulkBytes = 90 << 20 // below http.max_content_length's default of 100 MiB
)

// UnmarshalText reads bytes, with KiB, MiB, kB or MB behind the number if need be.
func (s *sizeValue) UnmarshalText(text []byte) error {
	return s.read(text, func(text string) error {
		digits := strings.TrimRight(text, "KMkiB")
		unit := map[string]int{"": 1, "kB": 1e3, "MB": 1e6, "KiB": 1 << 10, "MiB": 1 << 20}[text[len(digits):]]
		n, err := strconv.Atoi(strings.TrimSpace(digits))
		if s.bytes = n * unit; err != nil || s.bytes < minBulkBytes || s.bytes > maxBulkBytes {
			return fmt.Errorf("%q is not a size from 64KiB to 90MiB", text)
		}
		return nil
	})
}

// percentValue is a share, written in percent.
type percentValue struct {
	share float64
	checked
}

// UnmarshalText reads a number above 0 and below 100, with or without %.
func (v *percentValue) UnmarshalText(text []byte) error {
	n, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(string(text)), "%"), 64)
	if v.share = n / 100; err != nil || math.IsNaN(n) || n <= 0 || n >= 100 {
		v.problem = fmt.Errorf("%q is not a percentage above 0 and below 100", text)
	}
	return nil
}

// partOf reads two whole numbers with a slash between them.
func partOf(text []byte) (part, of int, err error) {
	first, second, _ := strings.Cut(string(text), "/")
	part, err = strconv.Atoi(first)
	of, ofErr := strconv.Atoi(second)
	return part, of, errors.Join(err, ofErr)
}

// subsetValue is one of several parts, counted from 1.
type subsetValue struct {
	verify.Subset
	checked
}

// maxSubsets is the number of hours in a month: more parts would have nothing in them.
const maxSubsets = 744

// UnmarshalText reads N/T.
func (v *subsetValue) UnmarshalText(text []byte) (err error) {
	if v.Part, v.Of, err = partOf(text); err != nil || v.Part < 1 || v.Part > v.Of || v.Of > maxSubsets {
		v.problem = fmt.Errorf("%q is not a part such as 3/12", text)
	}
	return nil
}

// shardValue is a part of a migration: of none if it was not given.
type shardValue struct {
	number, of int
	checked
}

// maxShards is far beyond what one cluster takes; it catches typing errors.
const maxShards = 1000

// UnmarshalText reads I/N.
func (s *shardValue) UnmarshalText(text []byte) (err error) {
	if s.number, s.of, err = partOf(text); err != nil || s.of < 1 || s.of > maxShards || s.number < 0 || s.number >= s.of {
		s.problem = fmt.Errorf("%q is not a part such as 0/4, of at most %d, counted from 0", text, maxShards)
	}
	return nil
}

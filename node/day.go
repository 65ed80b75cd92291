package node

import (
	"fmt"
	"time"
)

// Day is a UTC day, counted from 1970-01-01. It is the unit that is planned,
// copied, sealed and verified.
type Day int32

// MinDay and MaxDay are 0001-01-01 and 9999-12-31: the days that ISO 8601, and
// so a daily index's name, can hold.
const (
	MinDay Day = -719162
	MaxDay Day = 2932896
)

const microsPerDay = int64(24 * time.Hour / time.Microsecond)

// DayOf returns the UTC day of a timestamp in microseconds since 1970.
func DayOf(micros int64) Day {
	day := micros / microsPerDay
	if micros%microsPerDay < 0 {
		day--
	}
	return Day(day)
}

// ParseDay reads a day written as 2006-01-02.
func ParseDay(text string) (Day, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return 0, fmt.Errorf("day %q: want YYYY-MM-DD", text)
	}
	return DayOf(t.UnixMicro()), nil
}

// Start is the day's first microsecond, End the first one after it.
func (d Day) Start() int64 { return int64(d) * microsPerDay }

// End is the first microsecond after the day.
func (d Day) End() int64 { return (int64(d) + 1) * microsPerDay }

// String writes the day as 2006-01-02.
func (d Day) String() string { return time.UnixMicro(d.Start()).UTC().Format(time.DateOnly) }

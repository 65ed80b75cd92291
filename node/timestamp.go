package node

import "time"

// isoMicros is ISO 8601 with six digits of microseconds and the offset, as
// Python's datetime.isoformat writes an aware UTC time. Python leaves out the
// fraction when it is zero; OpenSearch's date field parses both.
const isoMicros = "2006-01-02T15:04:05.000000-07:00"

// AppendTimestamp appends a timestamp in microseconds since 1970 to dst as
// 2025-08-29T12:34:56.123456+00:00, always in UTC and always with six digits.
func AppendTimestamp(dst []byte, micros int64) []byte {
	return time.UnixMicro(micros).UTC().AppendFormat(dst, isoMicros)
}

// Millis is what OpenSearch's date field keeps of a timestamp in microseconds
// since 1970: whole milliseconds, rounded down.
func Millis(micros int64) int64 {
	if micros < 0 {
		return (micros - 999) / 1000
	}
	return micros / 1000
}

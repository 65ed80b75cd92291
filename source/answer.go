package source

import (
	"cmp"
	"fmt"
	"strconv"
	"time"
)

// micros has scan read a timestamptz.
type micros struct{ into *int64 }

// scan reads the fields of a row into what fields point to; seconds go into a
// time.Duration. A null, which is "", is zero. what names the question in errors.
func scan(what string, row []string, fields ...any) error {
	for i, field := range fields {
		var err error
		number := cmp.Or(row[i], "0")
		switch into := field.(type) {
		case *string:
			*into = row[i]
		case *bool:
			*into = row[i] == "t"
		case *int:
			*into, err = strconv.Atoi(number)
		case *int64:
			*into, err = strconv.ParseInt(number, 10, 64)
		case *float64:
			*into, err = strconv.ParseFloat(number, 64)
		case *time.Duration:
			var seconds float64
			seconds, err = strconv.ParseFloat(number, 64)
			*into = time.Duration(seconds * float64(time.Second))
		case micros:
			if *into.into = 0; row[i] != "" {
				*into.into, err = parseTimestamp(row[i])
			}
		default:
			err = fmt.Errorf("a %T cannot be read", field)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

func textRows(raw [][][]byte) [][]string {
	rows := make([][]string, len(raw))
	for i, fields := range raw {
		rows[i] = make([]string, len(fields))
		for j, field := range fields {
			rows[i][j] = string(field)
		}
	}
	return rows
}

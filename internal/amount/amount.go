// Package amount writes numbers, shares and sizes for people.
package amount

import (
	"fmt"
	"strconv"
	"strings"
)

// Count writes a number with its thousands apart.
func Count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var out strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			out.WriteByte(',')
		}
		out.WriteRune(digit)
	}
	return out.String()
}

// Of writes how many there are of something that is named in the singular.
func Of(n int64, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case what == "index":
		return Count(n) + " indices"
	}
	return Count(n) + " " + what + "s"
}

// Percent writes a share in percent with two significant digits.
func Percent(share float64) string {
	decimals := 0
	for digit := 10.0; digit > 100*share && decimals < 12; digit /= 10 {
		decimals++
	}
	return strconv.FormatFloat(100*share, 'f', decimals, 64) + " %"
}

// Size writes a number of bytes.
func Size(bytes int64) string {
	switch b := float64(bytes); {
	case b >= 1e12:
		return fmt.Sprintf("%.2f TB", b/1e12)
	case b >= 1e9:
		return fmt.Sprintf("%.2f GB", b/1e9)
	case b >= 1e6:
		return fmt.Sprintf("%.1f MB", b/1e6)
	}
	return fmt.Sprintf("%.1f kB", float64(bytes)/1e3)
}

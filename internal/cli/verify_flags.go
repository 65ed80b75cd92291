package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/verify"
)

// percentValue is a share, written in percent.
type percentValue struct {
	share   float64
	problem error
}

// UnmarshalText reads a number above 0 and below 100, with or without %.
func (v *percentValue) UnmarshalText(text []byte) error {
	n, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(string(text)), "%"), 64)
	if v.share = n / 100; err != nil || math.IsNaN(n) || n <= 0 || n >= 100 {
		v.problem = fmt.Errorf("%q is not a percentage above 0 and below 100", text)
	}
	return nil
}

// subsetValue is one of several parts.
type subsetValue struct {
	verify.Subset
	problem error
}

// maxSubsets is the number of hours in a month: more parts would have nothing in them.
const maxSubsets = 744

// UnmarshalText reads N/T.
func (v *subsetValue) UnmarshalText(text []byte) error {
	part, of, _ := strings.Cut(string(text), "/")
	var errs [2]error
	v.Part, errs[0] = strconv.Atoi(part)
	v.Of, errs[1] = strconv.Atoi(of)
	if errors.Join(errs[:]...) != nil || v.Part < 1 || v.Part > v.Of || v.Of > maxSubsets {
		v.problem = fmt.Errorf("%q is not a part such as 3/12", text)
	}
	return nil
}

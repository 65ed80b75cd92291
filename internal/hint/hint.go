// Package hint attaches to an error what its reader should do about it. The
// packages that know a remedy attach it, and only internal/cli prints it: the
// error's own text stays one line that says what went wrong.
package hint

import "errors"

type hinted struct {
	error
	remedy string
}

func (h *hinted) Unwrap() error { return h.error }

// Add returns err with a remedy attached. The text of the error is unchanged.
// A nil err stays nil.
func Add(err error, remedy string) error {
	if err == nil {
		return nil
	}
	return &hinted{err, remedy}
}

// Of returns the outermost remedy that was attached to err, or "".
func Of(err error) string {
	if h, ok := errors.AsType[*hinted](err); ok {
		return h.remedy
	}
	return ""
}

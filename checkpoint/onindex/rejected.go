package onindex

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
)

// Rejected is the list of rejected nodes beside a checkpoint: a chain of
// records, each with the lines of one commit, named by the offset of its first
// byte in the list as a whole. What a crashed run appended without its
// checkpoint is in nobody's way: the next append at the same offset replaces it.
type Rejected struct{ medium *Medium }

// lines is a record of the list.
type lines struct {
	Epoch int64  `json:"epoch"` // of the holder that wrote it
	Lines string `json:"lines"`
}

func (p Place) linesID(at int64) string { return p.Key + "/rejected/" + strconv.FormatInt(at, 10) }

// Rejected returns the list, which is usable for as long as the medium is.
func (m *Medium) Rejected() Rejected { return Rejected{m} }

// Path names the list for people.
func (r Rejected) Path() string { return r.medium.place.String() }

// Append makes text the end of the list: what the list has from the offset at
// on, in bytes, is gone.
func (r Rejected) Append(ctx context.Context, at int64, text []byte) error {
	place := r.medium.place
	_, err := place.Records.Change(ctx, place.linesID(at), func(old []byte) ([]byte, error) {
		var left lines
		if old != nil {
			if err := json.Unmarshal(old, &left); err != nil {
				return nil, fmt.Errorf("%w: %w", checkpoint.ErrDamaged, err)
			}
		}
		if left.Epoch > r.medium.epoch {
			return nil, r.medium.lose()
		}
		return json.Marshal(lines{r.medium.epoch, string(text)})
	})
	if err != nil {
		return fmt.Errorf("list rejected nodes: %w", err)
	}
	return nil
}

// Each hands over the first size bytes, in parts of whole lines.
func (r Rejected) Each(ctx context.Context, size int64, visit func(text []byte) error) error {
	return EachRejected(ctx, r.medium.place, size, visit)
}

// Close does nothing: the list is its medium's.
func (r Rejected) Close() error { return nil }

// EachRejected hands over the first size bytes of the list beside a checkpoint,
// in parts of whole lines. It needs no lock.
func EachRejected(ctx context.Context, place Place, size int64, visit func(text []byte) error) error {
	for at := int64(0); at < size; {
		_, part, err := get[lines](ctx, place, place.linesID(at))
		if err != nil {
			return err
		}
		if part.Lines == "" {
			return fmt.Errorf("read rejected nodes of %s: %w", place, errors.Join(checkpoint.ErrDamaged, fmt.Errorf("nothing at byte %d of %d", at, size)))
		}
		if err := visit([]byte(part.Lines)); err != nil {
			return err
		}
		at += int64(len(part.Lines))
	}
	return nil
}

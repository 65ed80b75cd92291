package source

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Apart is who hears of rows that are read apart from those that cannot be read.
type Apart struct {
	Node func(node.Node) error // as for Stream
	Bad  func(Bad) error       // its errors are returned as they are too
}

// Bad is a row that the server has and cannot read.
type Bad struct {
	ID     []byte // nil if it is null, or cannot be read either; valid during the call
	Micros int64  // 0 if FetchApart cannot read it
	Why    string // the server's words, without a payload
}

// maxLost bounds the microseconds in which not even ids can be read. The rows of
// a broken heap page are less than a hundred. More mean that the index on
// timestamp is broken, which makes every microsecond look like a damaged row.
const maxLost = 10_000

// StreamApart is Stream for a slice that Stream gave up as Damaged or TooLong.
// It halves the rows until each part can be read or is one row: n bad rows cost
// about n·log2(rows/n) statements. A part is handed over once all of it was
// read, so that no row comes twice. After an error, what was handed over is as
// good as after one of Stream; a Bad may then be none.
func (s *Source) StreamApart(ctx context.Context, span Slice, v Apart) error {
	for _, part := range s.parts(span) {
		a := &apart{Source: s, Apart: v, id: s.sql.id + " || ''", also: part.also}
		err := a.span(part.from, part.to, func(from, to int64) (func() error, error) {
			rows, err := a.list(ctx, a.sql.within(from, to)+a.also)
			return func() error { return a.divide(ctx, rows) }, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// EntriesApart is Entries for a range that Entries gave up as Damaged or TooLong.
// Not even the ids of bad rows can be read: there is at least one of them in
// each microsecond that bad is told of.
func (s *Source) EntriesApart(ctx context.Context, span Slice, visit func(Entry) error, bad func(Bad) error) error {
	a := &apart{Source: s, Apart: Apart{Bad: bad}}
	return a.span(span.From, span.To, func(from, to int64) (func() error, error) {
		var entries []Entry
		err := s.patiently(ctx, func() error {
			entries = nil
			return s.Entries(ctx, from, to, func(e Entry) error {
				e.ID = bytes.Clone(e.ID)
				entries = append(entries, e)
				return nil
			})
		})
		return func() error {
			for _, e := range entries {
				if err := visit(e); err != nil {
					return err
				}
			}
			return nil
		}, err
	})
}

// FetchApart is Fetch for ids of which Fetch gave up some as Damaged.
func (s *Source) FetchApart(ctx context.Context, ids []string, v Apart) error {
	a := &apart{Source: s, Apart: v, id: `"id"`}
	rows, err := a.list(ctx, s.sql.withIDs(ids))
	switch {
	case err == nil:
		return a.divide(ctx, rows)
	case !divisible(err) || len(ids) == 0:
		return err
	case len(ids) == 1:
		return a.bad(Bad{ID: []byte(ids[0])}, err)
	}
	half := len(ids) / 2
	if err := s.FetchApart(ctx, ids[:half], v); err != nil {
		return err
	}
	return s.FetchApart(ctx, ids[half:], v)
}

// apart is one reading that isolates bad rows.
type apart struct {
	*Source
	Apart
	id   string // the expression that ids are compared with
	also string // a further condition on all rows, beginning with "and"
	lost int
}

// rowKey is which row: its id, null or not, and its timestamp.
type rowKey struct {
	micros int64
	null   bool
	id     string
}

// span reads [from, to), down to single microseconds. In one that cannot be read
// there is a row of which not even the id can be read.
func (a *apart) span(from, to int64, read func(from, to int64) (deliver func() error, err error)) error {
	parts := halving{width: 1, read: read, alone: func(from int64, err error) error {
		if a.lost++; a.lost > maxLost {
			return err
		}
		return a.bad(Bad{Micros: from}, err)
	}}
	return parts.span(from, to)
}

// list returns the keys of rows, by time.
func (a *apart) list(ctx context.Context, where string) (rows []rowKey, err error) {
	err = a.patiently(ctx, func() error {
		rows = nil
		return a.keys(ctx, "list rows", where, func(id []byte, micros int64) error {
			rows = append(rows, rowKey{micros, id == nil, string(id)})
			return nil
		})
	})
	slices.SortFunc(rows, func(x, y rowKey) int { return cmp.Or(cmp.Compare(x.micros, y.micros), cmp.Compare(x.id, y.id)) })
	return slices.Compact(rows), err
}

// divide reads rows, which are by time, half by half where they cannot be read
// at once.
func (a *apart) divide(ctx context.Context, rows []rowKey) error {
	if len(rows) == 0 {
		return nil
	}
	where := a.where(rows)
	err := a.patiently(ctx, func() error {
		return a.nodes(ctx, "read nodes apart", where, func(node.Node) error { return nil })
	})
	switch {
	case err == nil:
		return a.nodes(ctx, "stream nodes", where, a.Node)
	case !divisible(err):
		return err
	case len(rows) == 1:
		bad := Bad{Micros: rows[0].micros}
		if !rows[0].null {
			bad.ID = []byte(rows[0].id)
		}
		return a.bad(bad, err)
	}
	half := len(rows) / 2
	if err := a.divide(ctx, rows[:half]); err != nil {
		return err
	}
	return a.divide(ctx, rows[half:])
}

// where is a condition that only these of the listed rows meet.
func (a *apart) where(rows []rowKey) string {
	var ids []string
	null := ""
	for _, r := range rows {
		if r.null {
			null = ` or "id" is null`
			continue
		}
		ids = append(ids, r.id)
	}
	return fmt.Sprintf("%s%s and (%s in (%s)%s)", inRange(rows[0].micros, rows[len(rows)-1].micros+1), a.also, a.id, a.sql.idList(ids), null)
}

// bad hands over a row that cannot be read. One that takes too long by itself
// may be sound.
func (a *apart) bad(row Bad, err error) error {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || !Damaged(err) {
		return err
	}
	row.Why = words(pg)
	return a.Bad(row)
}

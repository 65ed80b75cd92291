package source

import (
	"context"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

// Keys is Stream without the data, and without the rows of which the server
// cannot read that much; if there are some, others can come twice.
func (s *Source) Keys(ctx context.Context, from, to int64, visit func(id []byte, micros int64) error) error {
	err := s.keys(ctx, "read keys", s.sql.within(from, to), visit)
	if !divisible(err) {
		return err
	}
	return s.EntriesApart(ctx, Slice{From: from, To: to},
		func(e Entry) error { return visit(e.ID, e.Micros) }, func(Bad) error { return nil })
}

// Locate hands over the timestamps of the rows with the given ids. Ids without
// a row are passed over; one id can have several rows. It may look them up in an
// index of the ids, and an index can lack rows or hold them twice, whatever
// Relation.UniqueID says: a row that another method has shown has vanished only
// if LocateBetween does not find it either.
func (s *Source) Locate(ctx context.Context, ids []string, visit func(id []byte, micros int64) error) error {
	return s.keys(ctx, "locate ids", s.sql.withIDs(ids), visit)
}

// LocateBetween is Locate within [from, to). It reads
// all keys of that time as Stream does and never uses an index of the ids, so
// it finds what Stream, Keys and Entries find. A row can come twice.
func (s *Source) LocateBetween(ctx context.Context, ids []string, from, to int64, visit func(id []byte, micros int64) error) error {
	err := s.keys(ctx, "locate ids", s.sql.amongIDs(ids, from, to), visit)
	if !divisible(err) {
		return err
	}
	wanted := func(e Entry) error {
		if !slices.Contains(ids, string(e.ID)) {
			return nil
		}
		return visit(e.ID, e.Micros)
	}
	return s.EntriesApart(ctx, Slice{From: from, To: to}, wanted, func(Bad) error { return nil })
}

// Fetch hands the nodes with the given ids to visit. Ids without a row are
// skipped; one id can have several rows. See Locate for what its silence is worth.
func (s *Source) Fetch(ctx context.Context, ids []string, visit func(node.Node) error) error {
	return s.nodes(ctx, "fetch nodes", s.sql.withIDs(ids), visit)
}

// FetchBetween is Fetch as LocateBetween looks.
func (s *Source) FetchBetween(ctx context.Context, ids []string, from, to int64, visit func(node.Node) error) error {
	return s.nodes(ctx, "fetch nodes", s.sql.amongIDs(ids, from, to), visit)
}

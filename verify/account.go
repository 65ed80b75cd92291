package verify

import (
	"context"
	"fmt"
	"math"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
)

// tally is what a reading of rows saw. A sum tells two rows apart where a count
// does not: an index that lacks one row and has another twice.
type tally struct {
	rows    int64
	moments uint64 // sum of timestamps, in µs since 1970, modulo 2^64
}

func (t *tally) add(micros int64) {
	t.rows++
	t.moments += uint64(micros)
}

// entries reads the rows of a time without their payloads, in parts where that
// cannot be done at once, and returns how many microseconds have rows of which
// not even that much can be read. Those that the migration did not list are a
// finding. begin is called before each reading.
func (v *Verification) entries(ctx context.Context, span source.Slice, begin func(), visit func(source.Entry) error) (bad int, err error) {
	err = v.again(ctx, func() error { begin(); return v.Source.Entries(ctx, span.From, span.To, visit) })
	if !source.Damaged(err) && !source.TooLong(err) {
		return 0, err
	}
	err = v.again(ctx, func() error {
		begin()
		bad = 0
		return v.Source.EntriesApart(ctx, span, visit, func(b source.Bad) error {
			bad++
			if v.rejected.has(nil, b.Micros) {
				return visit(source.Entry{Micros: b.Micros})
			}
			day := node.DayOf(b.Micros).String()
			return v.findings.add(day, Finding{Class: Uncompared, Day: day, Known: "PostgreSQL cannot read rows, such as of " + isoTime(b.Micros) + ": " + b.Why})
		})
	})
	return bad, err
}

// maxAhead is how many rows newer than the last pass of the migration are looked
// at: they can be rows dated in the future. With more, the migration is behind.
const maxAhead = 100_000

// compareAhead compares the rows that are newer than the last pass of the
// migration. They are what it has not copied yet, or are dated in the future.
func (v *Verification) compareAhead(ctx context.Context) error {
	var list []suspect
	_, err := v.entries(ctx, source.Slice{From: v.horizon(), To: math.MaxInt64}, func() { list = nil }, func(e source.Entry) error {
		if len(list) < maxAhead {
			list = append(list, suspect{id: string(e.ID), micros: e.Micros})
		}
		return nil
	})
	if err != nil || len(list) == maxAhead {
		return err
	}
	for start := 0; start < len(list); start += suspectsAtOnce {
		part := list[start:min(start+suspectsAtOnce, len(list))]
		judgements, err := v.lookPayloads(ctx, part)
		if err != nil {
			return fmt.Errorf("compare rows newer than the last pass: %w", err)
		}
		for i, j := range judgements {
			if j.verdict == cleared {
				v.ahead.add(part[i].micros)
			}
		}
	}
	return nil
}

// unaccounted counts the table without any index, and says how that differs from
// what was compared, or "".
func (v *Verification) unaccounted(ctx context.Context, r *Report) (difference string, err error) {
	seen := tally{r.Total.Source + v.ahead.rows, r.Total.Moments + v.ahead.moments}
	for _, d := range v.scope.apartDays {
		apart := tally{}
		_, err := v.entries(ctx, source.Slice{From: d.from, To: d.to}, func() { apart = tally{} },
			func(e source.Entry) error { apart.add(e.Micros); return nil })
		if err != nil {
			return "", err
		}
		seen = tally{seen.rows + apart.rows, seen.moments + apart.moments}
	}
	var plain source.PlainCount
	if err := v.again(ctx, func() (err error) { plain, err = v.Source.PlainCount(ctx); return err }); err != nil {
		return "", err
	}
	plain.Rows -= r.Fresh // they have a reason of their own
	listed, unlisted, err := v.unbounded(ctx)
	switch {
	case err != nil:
		return "", err
	case plain.Rows != seen.rows:
		return fmt.Sprintf("a count of the table that uses no index has %s rows with a timestamp, and %s were compared", Number(plain.Rows), Number(seen.rows)), nil
	case plain.Sum != seen.moments && r.Fresh == 0:
		return "the timestamps of the table, summed without an index, are not those of the rows that were compared", nil
	case unlisted > 0 || plain.Unbounded != listed:
		return fmt.Sprintf("%s of no usable timestamp, and %s of them listed as rejected", plural(plain.Unbounded, "row"), Number(listed)), nil
	}
	return "", nil
}

// unbounded counts the rows that no day has, by whether they are listed as rejected.
func (v *Verification) unbounded(ctx context.Context) (listed, unlisted int64, err error) {
	err = v.again(ctx, func() error {
		listed, unlisted = 0, 0
		return v.Source.Unbounded(ctx, func(id []byte, _ string) error {
			if known, ok := v.rejected[v.rejected.key(string(id), 0)]; ok && !known.bounded {
				listed++
				return nil
			}
			unlisted++
			return nil
		})
	})
	return listed, unlisted, err
}

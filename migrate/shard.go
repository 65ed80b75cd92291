package migrate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/checkpoint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/records"
)

// Division says which of the processes that share a migration copies which
// days. It is made once: a planner's estimates differ from one moment to the
// next.
type Division struct {
	Binding checkpoint.Binding `json:"binding"`
	Shards  int                `json:"shards"` // 1: the migration is not shared
	// CopyUntil is the end of what the shards copy, in µs since 1970. It is one
	// for all of them, however often each begins again, so that there is one edge
	// around which the catch-up looks for rows that were committed late.
	CopyUntil int64          `json:"copy_until,omitempty"`
	Swept     int64          `json:"swept,omitempty"` // as in checkpoint.CatchUp
	Days      map[string]int `json:"days,omitempty"`  // shard of each day, by node.Day.String
	Done      []int          `json:"done,omitempty"`  // shards that have copied all their days
}

// ShardOf is the shard that copies a day.
func (d Division) ShardOf(day node.Day) int {
	if shard, ok := d.Days[day.String()]; ok {
		return shard
	}
	return (int(day)%d.Shards + d.Shards) % d.Shards // days before 1970 have negative numbers
}

// IsDone reports whether a shard has copied all its days.
func (d Division) IsDone(shard int) bool { return slices.Contains(d.Done, shard) }

// Missing are the shards that are not done, in order. A migration that is not
// shared has none.
func (d Division) Missing() (shards []int) {
	for shard := 0; d.Shards > 1 && shard < d.Shards; shard++ {
		if !d.IsDone(shard) {
			shards = append(shards, shard)
		}
	}
	return shards
}

// Team is the processes that share a migration, through the records of an
// index on the target.
type Team struct {
	Source  *source.Source
	Target  *target.Target
	Records records.Store
	Binding checkpoint.Binding
	Shards  int      // 1: a process on its own
	Since   node.Day // as in Options
	Until   node.Day
}

// Whole is the key of the checkpoint of the migration as a whole.
func (t Team) Whole() string { return t.Target.Backend().Alias + "/all" }

// Part is the key of the checkpoint of a shard.
func (t Team) Part(shard int) string {
	return fmt.Sprintf("%s/shard-%d-of-%d", t.Target.Backend().Alias, shard, t.Shards)
}

func (t Team) id() string { return t.Target.Backend().Alias + "/division" }

// Join returns the division of the migration. Whoever comes first makes it, a
// process on its own too: of two that would divide it differently one is
// refused. A process on its own may continue where all shards are done.
func (t Team) Join(ctx context.Context) (Division, error) {
	body, err := t.Records.Change(ctx, t.id(), func(old []byte) ([]byte, error) {
		if old != nil {
			return t.move(old)
		}
		d, err := t.divide(ctx)
		if err != nil {
			return nil, err
		}
		return json.Marshal(d)
	})
	if err != nil {
		return Division{}, fmt.Errorf("divide the migration: %w", err)
	}
	d, err := decodeDivision(body)
	if err != nil {
		return Division{}, err
	}
	if _, err := d.Binding.Accept(t.Binding); err != nil {
		return Division{}, err
	}
	return d, t.check(d)
}

// move changes the source that a division is bound to, if it has moved.
func (t Team) move(division []byte) ([]byte, error) {
	d, err := decodeDivision(division)
	if err != nil || !t.Binding.Moved {
		return nil, err
	}
	if d.Binding, err = d.Binding.Accept(t.Binding); err != nil {
		return nil, err
	}
	return json.Marshal(d)
}

// Look returns the division without making one; ok is false if there is none.
func (t Team) Look(ctx context.Context) (d Division, ok bool, err error) {
	record, err := t.Records.Get(ctx, t.id())
	if err != nil || record.Body == nil {
		return Division{}, false, err
	}
	d, err = decodeDivision(record.Body)
	return d, err == nil, err
}

func decodeDivision(body []byte) (d Division, err error) {
	if err := json.Unmarshal(body, &d); err != nil {
		return d, fmt.Errorf("read the division of the migration: %w: %w", checkpoint.ErrDamaged, err)
	}
	return d, nil
}

func (t Team) check(d Division) error {
	if t.Shards == d.Shards || t.Shards == 1 && len(d.Missing()) == 0 {
		return nil
	}
	return &DividedError{d, t.Shards}
}

// DividedError means that a migration is divided in another way than is asked for.
type DividedError struct {
	Division Division
	Shards   int // asked for
}

func (e *DividedError) Error() string {
	switch d := e.Division; {
	case e.Shards == 1:
		return fmt.Sprintf("the migration is divided among %d processes, and %s not done", d.Shards, shardsText(d.Missing()))
	case d.Shards == 1:
		return fmt.Sprintf("the migration was begun by a process on its own: it cannot be divided among %d now", e.Shards)
	default:
		return fmt.Sprintf("the migration is divided among %d processes, not %d", d.Shards, e.Shards)
	}
}

// shardsText says of some shards that they are, or of one that it is.
func shardsText(shards []int) string {
	if len(shards) == 1 {
		return fmt.Sprintf("shard %d is", shards[0])
	}
	return "shards " + strings.Trim(strings.Join(strings.Fields(fmt.Sprint(shards)), ", "), "[]") + " are"
}

func (t Team) divide(ctx context.Context) (Division, error) {
	d := Division{Binding: t.Binding, Shards: t.Shards}
	if t.Shards == 1 {
		return d, nil
	}
	now, err := t.Source.Now(ctx)
	if err != nil {
		return d, err
	}
	all := terms{Options: Options{Since: t.Since, Until: t.Until}.withDefaults(t.Source)}
	d.CopyUntil = now
	if d.Swept, err = firstSwept(ctx, all, t.Source, t.Target, now); err != nil {
		return d, err
	}
	sizes, err := t.Source.Days(ctx, all.Since.Start(), min(now, all.Until.Start()))
	d.Days = divideDays(sizes, t.Shards)
	return d, err
}

// divideDays gives each day, the largest first, to the shard that has the least
// to do so far: none then has more than 4/3 of what is possible (Graham 1969).
func divideDays(sizes []source.DaySize, shards int) map[string]int {
	largestFirst := slices.SortedFunc(slices.Values(sizes), func(a, b source.DaySize) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(b.Day, a.Day))
	})
	days, bytes := make(map[string]int, len(sizes)), make([]int64, shards)
	for _, size := range largestFirst {
		least := slices.Index(bytes, slices.Min(bytes))
		days[size.Day.String()] = least
		bytes[least] += max(size.Bytes, 1)
	}
	return days
}

// Report records that a shard is done, and returns the division as it is then.
func (t Team) Report(ctx context.Context, shard int) (Division, error) {
	body, err := t.Records.Change(ctx, t.id(), func(old []byte) ([]byte, error) {
		d, err := decodeDivision(old)
		if err != nil || d.IsDone(shard) {
			return nil, err
		}
		d.Done = append(d.Done, shard)
		return json.Marshal(d)
	})
	if err != nil {
		return Division{}, fmt.Errorf("report shard %d done: %w", shard, err)
	}
	return decodeDivision(body)
}

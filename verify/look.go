package verify

import (
	"context"
	"slices"

	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/source"
	"github.com/nodestore-migrate/nodestore-migrate/target"
)

// payloadsAtOnce is how many suspects are read at a time, on both sides.
const payloadsAtOnce = 20

// lookPayloads judges suspects by their payloads, and by all that lookIDs sees.
func (v *Verification) lookPayloads(ctx context.Context, list []suspect) ([]judgement, error) {
	c := v.newComparer()
	judgements, err := v.lookIDs(ctx, list)
	if err != nil {
		return nil, err
	}
	for start := 0; start < len(list); start += payloadsAtOnce {
		end := min(start+payloadsAtOnce, len(list))
		if err := c.look(ctx, list[start:end], judgements[start:end]); err != nil {
			return nil, err
		}
	}
	return judgements, nil
}

// look compares the payloads of the suspects whose ids are in order.
func (c *comparer) look(ctx context.Context, list []suspect, judgements []judgement) error {
	var ids []string
	for i, s := range list {
		if judgements[i].verdict == cleared {
			ids = append(ids, s.id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	rows, damaged, err := c.fetch(ctx, ids)
	if err != nil {
		return err
	}
	for i, s := range list {
		latest := judgements[i].row
		if r, there := rows[s.id]; judgements[i].verdict == cleared && latest.there && damaged[s.id] == "" && (!there || r.micros < latest.micros) {
			if err := c.fetchAt(ctx, s.id, latest.micros, rows); err != nil {
				return err
			}
		}
	}
	found, err := c.differences(ctx, ids, rows)
	if err != nil {
		return err
	}
	for i, s := range list {
		if judgements[i].verdict != cleared {
			continue
		}
		r, there := rows[s.id]
		if !there && damaged[s.id] == "" {
			judgements[i] = judgement{verdict: vanished}
			continue
		}
		f, seen := found[s.id]
		if damaged[s.id] != "" {
			f, seen = Finding{Class: Uncompared, Known: damaged[s.id]}, true
		}
		if judgements[i], err = c.judgePayload(ctx, s, r, seenAs{f, seen}); err != nil {
			return err
		}
		if judgements[i].verdict == blamed && r.micros >= c.horizon() {
			judgements[i] = judgement{verdict: pending}
		}
	}
	return nil
}

// seenAs is what the comparison of a payload gave, if there was a document.
type seenAs struct {
	Finding
	seen bool
}

func (c *comparer) judgePayload(ctx context.Context, s suspect, r row, as seenAs) (judgement, error) {
	f := as.Finding
	var err error
	switch {
	case c.rejected.has([]byte(r.id), r.micros):
		return judgement{}, nil
	case !as.seen:
		f = Finding{Class: Uncompared, Known: "its document went while it was read"}
	case f.Class == "":
		f, err = c.lookAsSentry(ctx, r)
	}
	if err != nil || f.Class == "" {
		return judgement{}, err
	}
	f.ID, f.Day = s.id, s.day.String()
	return judgement{verdict: blamed, finding: f}, nil
}

func (c *comparer) lookAsSentry(ctx context.Context, r row) (Finding, error) {
	sound, err := c.compareAsSentry(ctx, r)
	if err != nil || sound {
		return Finding{}, err
	}
	return Finding{Class: Unreadable, Known: "Sentry's search and get do not give it, though it is stored"}, nil
}

// differences compares rows with the documents behind the alias.
func (c *comparer) differences(ctx context.Context, ids []string, rows map[string]row) (map[string]Finding, error) {
	found := make(map[string]Finding)
	err := c.again(ctx, func() error {
		return c.Target.Payloads(ctx, c.Target.Backend().Alias, ids, func(d target.Document) error {
			if r, ok := rows[d.ID]; ok {
				class, known := c.difference(r, d)
				found[d.ID] = Finding{Class: class, Known: known, Indices: []string{d.Index}}
			}
			return nil
		})
	})
	return found, err
}

// fetchAt reads a row by its time: an index of the ids that is damaged does not
// lead to it.
func (c *comparer) fetchAt(ctx context.Context, id string, micros int64, rows map[string]row) error {
	return c.again(ctx, func() error {
		return c.Source.FetchBetween(ctx, []string{id}, micros, micros+1, func(n node.Node) error {
			rows[id] = row{id, n.Micros, slices.Clone(n.Data)}
			return nil
		})
	})
}

// fetch reads rows, and says of those that the server cannot read why not.
func (c *comparer) fetch(ctx context.Context, ids []string) (rows map[string]row, damaged map[string]string, err error) {
	rows, damaged = make(map[string]row), make(map[string]string)
	keep := func(n node.Node) error {
		if known, ok := rows[string(n.ID)]; !ok || n.Micros >= known.micros {
			rows[string(n.ID)] = row{string(n.ID), n.Micros, slices.Clone(n.Data)}
		}
		return nil
	}
	err = c.again(ctx, func() error { return c.Source.Fetch(ctx, ids, keep) })
	if !source.Damaged(err) && !source.TooLong(err) {
		return rows, damaged, err
	}
	err = c.again(ctx, func() error {
		return c.Source.FetchApart(ctx, ids, source.Apart{Node: keep, Bad: func(b source.Bad) error {
			damaged[string(b.ID)] = "PostgreSQL cannot read the row: " + b.Why
			return nil
		}})
	})
	return rows, damaged, err
}
